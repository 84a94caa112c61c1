//! What goes wrong in a template, and where.

/// What is wrong, and the byte of the template where it is, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) at: Option<usize>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None }
    }

    pub(crate) fn at(at: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), at: Some(at) }
    }

    /// The innermost place is the one that is said.
    pub(crate) fn placed(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }
}
