//! YAML to a tree that knows where each key and value stands.
//!
//! One document of mappings, lists and scalars with text keys, bounded in depth and size. Anchors,
//! aliases and merge keys (`<<`) are resolved; tags and keys that are not text are refused. What a
//! scalar means (a number, a duration …) is decided later, by the key it belongs to.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span as Marks};

use super::key::{KeyPath, Step};
use super::text::Fault;

/// Deeper than any configuration; recursion over the tree stays shallow.
const DEEPEST: usize = 32;
/// More nodes than a real file has; aliases of aliases end here.
const MOST_NODES: usize = 200_000;

/// A place in the file: 1-based, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    /// Characters to underline on that line.
    pub(super) width: usize,
}

impl Span {
    /// A single character at a 1-based line and column.
    pub(super) fn point(line: usize, column: usize) -> Self {
        Self { line, column, width: 1 }
    }

    fn of(marks: Marks) -> Self {
        let width = if marks.start.line() == marks.end.line() {
            marks.end.col().saturating_sub(marks.start.col())
        } else {
            usize::MAX
        };
        Self { line: marks.start.line(), column: marks.start.col() + 1, width: width.max(1) }
    }
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A piece of text; `plain` when it has no quotes and is no block.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, with its duplicate keys.
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands.
    pub(super) span: Span,
    pub(super) node: Node,
}

impl Node {
    /// Whether it is written as nothing at all.
    pub(super) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The place and the scalar value of a key, or the place of the nearest key above it.
    pub(super) fn find(&self, path: &KeyPath) -> (Span, Option<String>) {
        let mut node = self;
        let mut place = Span { width: 1, ..node.span };
        for step in path.steps() {
            let Some((span, next)) = node.child(step) else {
                return (place, None);
            };
            place = span;
            node = next;
        }
        match &node.content {
            Content::Scalar { text, .. } if !node.is_null() => (node.span, Some(text.clone())),
            _ => (place, None),
        }
    }

    fn child(&self, step: &Step) -> Option<(Span, &Self)> {
        match (&self.content, step) {
            (Content::Mapping(entries), Step::Key(key)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| (entry.span, &entry.node)),
            (Content::List(items), Step::Item(index)) => {
                items.get(*index).map(|item| (Span { width: 1, ..item.span }, item))
            }
            _ => None,
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Content::Mapping(entries) => {
                entries.iter().map(|entry| entry.node.depth()).max().unwrap_or(0)
            }
        }
    }

    fn count(&self) -> usize {
        1 + match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::count).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        }
    }
}

/// Reads one document; `None` when there is nothing in it. YAML that cannot be read has no second
/// error: what follows the first would be guesses.
pub(super) fn read(text: &str) -> Result<Option<Node>, (Span, Fault)> {
    let mut parser = Parser::new_from_str(text);
    let mut tree = Tree::default();
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, marks) = event.map_err(|err| {
            let place = Span::point(err.marker().line(), err.marker().col() + 1);
            (place, syntax_fault(text, err.marker().line(), err.info()))
        })?;
        let span = Span::of(marks);
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                return Err((
                    span,
                    Fault::new("a second YAML document begins here").hint(
                        "a configuration is one document: remove the --- line, or split the file",
                    ),
                ));
            }
        }
        tree.take(event, span).map_err(|fault| (span, fault))?;
    }
    Ok(tree.root)
}

fn syntax_fault(text: &str, line: usize, info: &str) -> Fault {
    let fault = Fault::new(format!("this is not YAML: {info}"));
    let near = |number: usize| {
        let line = text.lines().nth(number.saturating_sub(1)).unwrap_or("");
        let indent = line.len() - line.trim_start().len();
        line.get(..indent).is_some_and(|blank| blank.contains('\t'))
    };
    if near(line) || near(line.saturating_sub(1)) {
        fault.hint("YAML allows no tabs before a key: indent with spaces")
    } else {
        fault
    }
}

/// A mapping or list whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<(String, Span)>,
}

/// The tree while it is built.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some())?;
                self.scalar(text.into_owned(), style == ScalarStyle::Plain, anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some())?;
                self.begin(Content::Mapping(Vec::new()), anchor, span)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some())?;
                self.begin(Content::List(Vec::new()), anchor, span)
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new("this alias stands inside its own anchor"));
                };
                if self.open.len() + node.depth() > DEEPEST {
                    return Err(too_deep());
                }
                self.count(node.count())?;
                self.put(node)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: String,
        plain: bool,
        anchor: usize,
        span: Span,
    ) -> Result<(), Fault> {
        if self.wants_key() {
            if let Some(open) = self.open.last_mut() {
                open.key = Some((text, span));
            }
            return Ok(());
        }
        self.count(1)?;
        let node = Node { span, content: Content::Scalar { text, plain } };
        self.remember(anchor, &node);
        self.put(node)
    }

    fn begin(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), Fault> {
        if self.wants_key() {
            return Err(Fault::new("a key is a piece of text, not a list or a mapping")
                .hint("text with { or [ in it needs quotes"));
        }
        if self.open.len() >= DEEPEST {
            return Err(too_deep());
        }
        self.count(1)?;
        self.open.push(Open { node: Node { span, content }, anchor, key: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(mut open) = self.open.pop() else {
            return Ok(());
        };
        if let Content::Mapping(entries) = &mut open.node.content {
            merge(entries);
        }
        self.remember(open.anchor, &open.node);
        self.put(open.node)
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| {
            open.key.is_none() && matches!(open.node.content, Content::Mapping(_))
        })
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES {
            return Err(Fault::new(format!("the document has more than {MOST_NODES} values"))
                .hint("an alias counts as often as it is used"));
        }
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.content {
            Content::List(items) => items.push(node),
            Content::Mapping(entries) => match open.key.take() {
                Some((key, span)) => entries.push(Entry { key, span, node }),
                None => return Err(Fault::new("a key is a piece of text, not an alias")),
            },
            Content::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn refuse_tag(there: bool) -> Result<(), Fault> {
    if there {
        return Err(Fault::new("YAML tags are not supported").hint("remove the word with the !"));
    }
    Ok(())
}

fn too_deep() -> Fault {
    Fault::new(format!("the document is nested more than {DEEPEST} levels deep"))
}

/// Puts what `<<` names in its place: keys that the mapping has itself win, then the first merged.
fn merge(entries: &mut Vec<Entry>) {
    let (merges, own): (Vec<_>, Vec<_>) =
        entries.drain(..).partition(|entry| entry.key == "<<" && mergeable(entry));
    let mut known: HashSet<String> = if merges.is_empty() {
        HashSet::new()
    } else {
        own.iter().map(|e| e.key.clone()).collect()
    };
    *entries = own;
    for merged in merges {
        let sources = match merged.node.content {
            Content::List(items) => items,
            _ => vec![merged.node],
        };
        for source in sources {
            let Content::Mapping(more) = source.content else { continue };
            entries.extend(more.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
    }
}

/// Whether a `<<` names mappings; one that does not is left there, and is an unknown key.
fn mergeable(entry: &Entry) -> bool {
    let mapping = |node: &Node| matches!(node.content, Content::Mapping(_));
    match &entry.node.content {
        Content::List(items) => items.iter().all(mapping),
        _ => mapping(&entry.node),
    }
}

#[cfg(test)]
mod tests;
