//! consul-template's language: Go's `text/template` with functions, as far as files of secrets use it.
//!
//! Two things differ on purpose. Where Go would write `<no value>` into the file, rendering fails:
//! a configuration with a hole in it is worse than none. And which secrets a template needs is read
//! off its text, so that they are all there before it is rendered for the first time.

mod eval;
mod functions;
mod lexer;
mod parser;
mod tree;
mod value;

pub(super) use self::functions::sha256;
use self::parser::Parsed;
use self::tree::{Base, Command, Node, Operand, Pipeline};
use self::value::Value;
use super::fault::Fault;
use super::output::Output;
use super::{Need, Request, Values};

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Consul {
    parsed: Parsed,
}

impl Consul {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self { parsed: parser::parse(text)? })
    }

    /// What the calls of `secret` and `pkiCert` ask for. Their arguments are texts, or made of texts
    /// and the environment.
    pub(super) fn needs(&self, values: &Values) -> Result<Vec<Need>, Fault> {
        let mut finder = Finder { values, needs: Vec::new() };
        finder.list(&self.parsed.body)?;
        for body in self.parsed.defined.values() {
            finder.list(body)?;
        }
        Ok(finder.needs)
    }

    pub(super) fn render(&self, values: &Values) -> Result<Output, Fault> {
        eval::render(&self.parsed, values)
    }
}

struct Finder<'a> {
    values: &'a Values,
    needs: Vec<Need>,
}

impl Finder<'_> {
    fn list(&mut self, nodes: &[Node]) -> Result<(), Fault> {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Show(pipeline) => self.pipeline(pipeline)?,
                Node::Template { data, .. } => {
                    data.iter().try_for_each(|pipeline| self.pipeline(pipeline))?;
                }
                Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                    self.pipeline(&branch.pipeline)?;
                    self.list(&branch.body)?;
                    self.list(&branch.otherwise)?;
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<(), Fault> {
        for (place, command) in pipeline.commands.iter().enumerate() {
            self.command(command, place > 0)?;
            for operand in &command.words {
                if let Base::Pipeline(inner) = &operand.base {
                    self.pipeline(inner)?;
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, command: &Command, is_fed: bool) -> Result<(), Fault> {
        for (place, operand) in command.words.iter().enumerate() {
            let Base::Function(name) = &operand.base else { continue };
            if !matches!(name.as_str(), "secret" | "pkiCert") {
                continue;
            }
            let arguments = command.words.get(1..).unwrap_or_default();
            if place > 0 || arguments.is_empty() || is_fed {
                let text = format!("write the path right after {name}, as in {name} \"kv/app\"");
                return Err(Fault::at(operand.at, text));
            }
            let need = Need::Request(self.request(arguments).map_err(|f| f.placed(command.at))?);
            if !self.needs.contains(&need) {
                self.needs.push(need);
            }
        }
        Ok(())
    }

    fn request(&self, arguments: &[Operand]) -> Result<Request, Fault> {
        let mut values = Vec::new();
        for argument in arguments {
            if !is_constant(argument) {
                return Err(Fault::at(
                    argument.at,
                    "which secrets are needed must be known before any is fetched: \
                     write a text, or one made with env and printf; no variable and no field",
                ));
            }
            values.push(eval::constant(argument, self.values)?);
        }
        request(&values)
    }
}

/// Whether the value of an operand follows from the template and the environment alone.
fn is_constant(operand: &Operand) -> bool {
    operand.fields.is_empty()
        && match &operand.base {
            Base::Str(_) | Base::Int(_) | Base::Float(_) | Base::Bool(_) => true,
            Base::Function(name) => {
                !matches!(name.as_str(), "secret" | "pkiCert" | "timestamp" | "executeTemplate")
            }
            Base::Pipeline(pipeline) => {
                pipeline.variables.is_empty()
                    && pipeline.commands.iter().flat_map(|c| &c.words).all(is_constant)
            }
            Base::Dot | Base::Nil | Base::Variable(_) => false,
        }
}

/// What `secret PATH KEY=VALUE…` asks for.
fn request(arguments: &[Value]) -> Result<Request, Fault> {
    let mut texts = Vec::new();
    for argument in arguments {
        match argument {
            Value::Text(text) => texts.push(text.as_str()),
            other => return Err(Fault::new(format!("a path is a text, not {}", other.kind()))),
        }
    }
    let (path, pairs) = texts.split_first().ok_or_else(|| Fault::new("a path is missing"))?;
    Request::parse(path, pairs).map_err(Fault::new)
}
