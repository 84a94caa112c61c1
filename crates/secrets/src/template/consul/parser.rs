//! From the words of a template to its tree.

use std::collections::BTreeMap;

use super::functions;
use super::lexer::{Placed, Token, tokens};
use super::tree::{Base, Branch, Command, Node, Operand, Pipeline};
use crate::template::fault::Fault;

/// How deep blocks and parentheses may be nested.
const MAX_DEPTH: usize = 100;

/// A template with those that it defines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) body: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// Parses a template.
///
/// # Errors
/// The template breaks the syntax, or names a function or a variable that is not there.
pub(super) fn parse(source: &str) -> Result<Parsed, Fault> {
    let tokens = tokens(source)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        end: source.len(),
        variables: vec![String::new()],
        defined: BTreeMap::new(),
        depth: 0,
        loops: 0,
    };
    let (body, end) = parser.list()?;
    match end {
        End::Source => Ok(Parsed { body, defined: parser.defined }),
        End::Else(at) => Err(Fault::at(at, "{{else}} without {{if}}, {{with}} or {{range}}")),
        End::Closed(at) => Err(Fault::at(at, "{{end}} without anything to end")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    variables: Vec<String>,
    defined: BTreeMap<String, Vec<Node>>,
    depth: usize,
    loops: usize,
}

/// What ended a list; the byte of its word.
enum End {
    Source,
    /// `{{else`: what follows is not read yet.
    Else(usize),
    Closed(usize),
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while self.take(&Token::Space) {}
    }

    fn close(&mut self, what: &str) -> Result<(), Fault> {
        self.skip_space();
        match self.take(&Token::Close) {
            true => Ok(()),
            false => Err(Fault::at(self.at(), format!("}}}} is missing after {what}"))),
        }
    }

    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::at(self.at(), format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    fn list(&mut self) -> Result<(Vec<Node>, End), Fault> {
        let mut nodes = Vec::new();
        loop {
            let at = self.at();
            match self.peek() {
                None => return Ok((nodes, End::Source)),
                Some(Token::Text(text)) => {
                    nodes.push(Node::Text(text.clone()));
                    self.next += 1;
                    continue;
                }
                Some(_) => self.next += 1,
            }
            self.skip_space();
            let word = match self.peek() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match word.as_str() {
                "end" => {
                    self.next += 1;
                    self.close("end")?;
                    return Ok((nodes, End::Closed(at)));
                }
                "else" => {
                    self.next += 1;
                    return Ok((nodes, End::Else(at)));
                }
                "define" => self.define(at)?,
                _ => nodes.push(self.action(&word, at)?),
            }
        }
    }

    fn action(&mut self, word: &str, at: usize) -> Result<Node, Fault> {
        let is_keyword =
            matches!(word, "if" | "with" | "range" | "template" | "block" | "break" | "continue");
        self.next += usize::from(is_keyword);
        match word {
            "if" => Ok(Node::If(self.branch("if", at)?)),
            "with" => Ok(Node::With(self.branch("with", at)?)),
            "range" => Ok(Node::Range(self.branch("range", at)?)),
            "template" => {
                let (name, data) = self.named("template")?;
                Ok(Node::Template { name, data, at })
            }
            "block" => {
                let (name, data) = self.named("block")?;
                let body = self.separate(at, "block")?;
                self.defined.insert(name.clone(), body);
                Ok(Node::Template { name, data, at })
            }
            "break" | "continue" if self.loops == 0 => {
                Err(Fault::at(at, format!("{{{{{word}}}}} stands only within {{{{range}}}}")))
            }
            "break" => self.close("break").map(|()| Node::Break),
            "continue" => self.close("continue").map(|()| Node::Continue),
            _ => {
                let pipeline = self.pipeline(false)?;
                self.close("the action")?;
                Ok(Node::Show(pipeline))
            }
        }
    }

    /// What follows `if`, `with` and `range`, up to its end.
    fn branch(&mut self, word: &str, at: usize) -> Result<Branch, Fault> {
        self.deeper(|parser| {
            let variables = parser.variables.len();
            let is_loop = word == "range";
            let pipeline = parser.pipeline(is_loop)?;
            parser.close(word)?;
            parser.loops += usize::from(is_loop);
            let (body, end) = parser.list()?;
            parser.loops -= usize::from(is_loop);
            let otherwise = match end {
                End::Closed(_) => Vec::new(),
                End::Else(_) => parser.otherwise(word, at)?,
                End::Source => return Err(not_ended(word, at)),
            };
            parser.variables.truncate(variables);
            Ok(Branch { pipeline, body, otherwise })
        })
    }

    /// What follows `{{else`: `}}`, or ` if …}}` and ` with …}}`, whose end is also ours.
    fn otherwise(&mut self, word: &str, at: usize) -> Result<Vec<Node>, Fault> {
        self.skip_space();
        let chained = matches!(word, "if" | "with") && self.take(&Token::Word(word.to_owned()));
        if chained {
            let branch = self.branch(word, at)?;
            return Ok(vec![if word == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.close("else")?;
        match self.list()? {
            (nodes, End::Closed(_)) => Ok(nodes),
            (_, End::Else(at)) => Err(Fault::at(at, "a second {{else}}")),
            (_, End::Source) => Err(not_ended(word, at)),
        }
    }

    fn define(&mut self, at: usize) -> Result<(), Fault> {
        if self.depth > 0 {
            return Err(Fault::at(at, "{{define}} stands outside of all other blocks"));
        }
        self.next += 1;
        let (name, data) = self.named("define")?;
        if data.is_some() {
            return Err(Fault::at(at, "{{define}} takes a name and nothing else"));
        }
        let body = self.separate(at, "define")?;
        self.defined.insert(name, body);
        Ok(())
    }

    /// A name in quotes, and a pipeline where there is one.
    fn named(&mut self, word: &str) -> Result<(String, Option<Pipeline>), Fault> {
        self.skip_space();
        let name = match self.peek() {
            Some(Token::Str(name)) => name.clone(),
            _ => return Err(Fault::at(self.at(), format!("{word} needs a name in quotes"))),
        };
        self.next += 1;
        self.skip_space();
        let data = match self.peek() {
            Some(Token::Close) => None,
            _ => Some(self.pipeline(false)?),
        };
        self.close(word)?;
        Ok((name, data))
    }

    /// The body of a template of its own: it sees no variables but `$`.
    fn separate(&mut self, at: usize, word: &str) -> Result<Vec<Node>, Fault> {
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let list = self.deeper(Self::list);
        self.variables = outer;
        self.loops = loops;
        match list? {
            (body, End::Closed(_)) => Ok(body),
            (_, End::Else(at)) => Err(Fault::at(at, format!("{{{{else}}}} within {word}"))),
            (_, End::Source) => Err(not_ended(word, at)),
        }
    }

    fn pipeline(&mut self, is_range: bool) -> Result<Pipeline, Fault> {
        self.deeper(|parser| {
            parser.skip_space();
            let at = parser.at();
            let (variables, assigns) = parser.declaration(is_range)?;
            let mut commands = Vec::new();
            loop {
                commands.push(parser.command()?);
                parser.skip_space();
                if !parser.take(&Token::Pipe) {
                    break;
                }
            }
            if !assigns {
                parser.variables.extend(variables.iter().cloned());
            }
            Ok(Pipeline { variables, assigns, commands, at })
        })
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`; nothing is taken where there is none.
    fn declaration(&mut self, is_range: bool) -> Result<(Vec<String>, bool), Fault> {
        let (start, at) = (self.next, self.at());
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            names.push(name.clone());
            self.next += 1;
            self.skip_space();
            let declares = self.take(&Token::Declare);
            if declares || self.take(&Token::Assign) {
                let unknown = names.iter().find(|name| !declares && !self.variables.contains(name));
                return match unknown {
                    Some(name) => Err(Fault::at(at, format!("${name} is not declared; use :="))),
                    None => Ok((names, !declares)),
                };
            }
            if !(is_range && names.len() == 1 && self.take(&Token::Comma)) {
                break;
            }
            self.skip_space();
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Command, Fault> {
        self.skip_space();
        let at = self.at();
        let mut words = Vec::new();
        while let Some(operand) = self.operand()? {
            words.push(operand);
            if !self.take(&Token::Space) {
                break;
            }
            self.skip_space();
        }
        match words.is_empty() {
            true => Err(Fault::at(at, "a value or a function is missing")),
            false => Ok(Command { words, at }),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let at = self.at();
        let Some(token) = self.peek().cloned() else { return Ok(None) };
        let mut fields = Vec::new();
        let base = match token {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Token::Int(number) => Base::Int(number),
            Token::Float(number) => Base::Float(number),
            Token::Str(text) => Base::Str(text),
            Token::Variable(name) if self.variables.contains(&name) => Base::Variable(name),
            Token::Variable(name) => {
                return Err(Fault::at(at, format!("there is no variable ${name} here")));
            }
            Token::Word(word) => match word.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                _ => {
                    functions::find(&word).map_err(|fault| fault.placed(at))?;
                    Base::Function(word)
                }
            },
            Token::LeftParen => {
                self.next += 1;
                let pipeline = self.pipeline(false)?;
                self.skip_space();
                if self.peek() != Some(&Token::RightParen) {
                    return Err(Fault::at(at, "the parenthesis is not closed"));
                }
                Base::Pipeline(Box::new(pipeline))
            }
            Token::Text(_)
            | Token::Open
            | Token::Close
            | Token::Pipe
            | Token::RightParen
            | Token::Declare
            | Token::Assign
            | Token::Comma
            | Token::Space => return Ok(None),
        };
        self.next += 1;
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.next += 1;
        }
        Ok(Some(Operand { base, fields, at }))
    }
}

fn not_ended(word: &str, at: usize) -> Fault {
    Fault::at(at, format!("{{{{{word}}}}} is not ended; {{{{end}}}} is missing"))
}
