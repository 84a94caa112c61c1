//! The fields that frame a message or belong to one connection only, in either direction.

use crate::field_set::FieldSet;
use crate::grammar;
use crate::head::{HeadError, Version};
use crate::{Chunked, Field, Framing};

/// How many fields `Connection` may name, besides the options that HTTP itself defines.
const NAMED_MAX: usize = 16;

/// Fields that `Connection` may not name: dropping them would change where the message ends or
/// where it goes.
const NEVER_NAMED: [&[u8]; 5] =
    [b"content-length", b"transfer-encoding", b"host", b"trailer", b"expect"];

/// A field that the engine itself has to understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Connection,
    ContentLength,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
}

impl Known {
    /// The field that `name` names, by length and first letter before the full comparison:
    /// almost every field of a real head is told apart by those two.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let (word, known): (&[u8], Self) = match (name.len(), name.first()? | 0x20) {
            (2, b't') => (b"te", Self::Te),
            (4, b'h') => (b"host", Self::Host),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            _ => return None,
        };
        name.eq_ignore_ascii_case(word).then_some(known)
    }
}

/// What those fields say together.
#[derive(Default)]
pub(crate) struct Hop<'b> {
    /// The one `Content-Length`.
    pub(crate) content_length: Option<u64>,
    /// `Transfer-Encoding: chunked`, once.
    pub(crate) chunked: bool,
    /// Fields that belong to the connection and are not forwarded.
    pub(crate) drop: FieldSet,
    /// Where `Content-Length` and `Transfer-Encoding` are.
    pub(crate) framing_fields: FieldSet,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade_fields: FieldSet,
    upgrade_to_h2c: bool,
    named: [&'b [u8]; NAMED_MAX],
    named_len: usize,
}

impl<'b> Hop<'b> {
    /// Takes the field at `position` into account.
    pub(crate) fn read(
        &mut self,
        position: usize,
        known: Known,
        value: &'b [u8],
    ) -> Result<(), HeadError> {
        match known {
            Known::Connection => {
                self.drop.insert(position);
                self.read_connection(value)
            }
            Known::KeepAlive | Known::ProxyConnection => {
                self.drop.insert(position);
                Ok(())
            }
            Known::Upgrade => {
                self.drop.insert(position);
                self.upgrade_fields.insert(position);
                self.upgrade_to_h2c |=
                    grammar::list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
                Ok(())
            }
            Known::ContentLength => {
                self.framing_fields.insert(position);
                self.read_content_length(value)
            }
            Known::TransferEncoding => {
                self.framing_fields.insert(position);
                self.read_transfer_encoding(value)
            }
            Known::Expect | Known::Host | Known::Te => Ok(()),
        }
    }

    /// Checks what only the whole head shows, and marks the fields that `Connection` names.
    pub(crate) fn finish(
        &mut self,
        version: Version,
        fields: &[Field<'_>],
    ) -> Result<(), HeadError> {
        if self.chunked && self.content_length.is_some() {
            return Err(HeadError::Malformed("content-length next to transfer-encoding"));
        }
        if self.chunked && version == Version::Http10 {
            return Err(HeadError::Malformed("transfer-encoding in an HTTP/1.0 message"));
        }
        let named = self.named.get(..self.named_len).unwrap_or_default();
        if !named.is_empty() {
            for (position, field) in fields.iter().enumerate() {
                if named.iter().any(|name| name.eq_ignore_ascii_case(field.name.as_bytes())) {
                    self.drop.insert(position);
                }
            }
        }
        Ok(())
    }

    /// Whether the sender wants the connection to live on, by the rules of its version.
    pub(crate) fn keep_alive(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 => !self.close,
        }
    }

    /// Whether an upgrade is asked for (or accepted) that may be passed on. `h2c` never is: it
    /// would carry requests past every rule inside a tunnel (RFC 9113 §3.1 withdrew it).
    pub(crate) fn upgrade(&self, version: Version) -> bool {
        version == Version::Http11
            && self.upgrade_option
            && !self.upgrade_fields.is_empty()
            && !self.upgrade_to_h2c
    }

    /// Lets the `Upgrade` fields pass.
    pub(crate) fn keep_upgrade_fields(&mut self) {
        self.drop = self.drop.difference(self.upgrade_fields);
    }

    /// The framing that the fields alone give: `None` when they give none.
    pub(crate) fn framing(&self) -> Option<Framing> {
        match (self.chunked, self.content_length) {
            (true, _) => Some(Framing::Chunked(Chunked::new())),
            (false, Some(0)) => Some(Framing::Empty),
            (false, Some(len)) => Some(Framing::Length(len)),
            (false, None) => None,
        }
    }

    fn read_connection(&mut self, value: &'b [u8]) -> Result<(), HeadError> {
        for option in grammar::list(value) {
            match Known::of(option) {
                Some(Known::Upgrade) => self.upgrade_option = true,
                Some(Known::KeepAlive) => self.keep_alive = true,
                // Dropped, or kept, by rules of their own.
                Some(Known::Te | Known::Connection | Known::ProxyConnection) => {}
                _ if option.eq_ignore_ascii_case(b"close") => self.close = true,
                _ => self.name(option)?,
            }
        }
        Ok(())
    }

    fn name(&mut self, option: &'b [u8]) -> Result<(), HeadError> {
        if !grammar::is_token(option) {
            return Err(HeadError::Malformed("a connection option has to be a token"));
        }
        if NEVER_NAMED.iter().any(|name| name.eq_ignore_ascii_case(option)) {
            return Err(HeadError::Malformed("connection names a field that frames or routes"));
        }
        let slot = self.named.get_mut(self.named_len);
        *slot.ok_or(HeadError::Malformed("connection names more than 16 fields"))? = option;
        self.named_len += 1;
        Ok(())
    }

    fn read_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.content_length.is_some() {
            return Err(HeadError::Malformed("content-length is given twice"));
        }
        let len = grammar::number(value)
            .ok_or(HeadError::Malformed("content-length has to be one number of 1 to 19 digits"))?;
        self.content_length = Some(len);
        Ok(())
    }

    fn read_transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked {
            return Err(HeadError::Malformed("transfer-encoding is given twice"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        // One clear reading, codings that end in chunked, is only unsupported (RFC 9112 §6.1);
        // the length of anything else is a guess.
        let chunked = grammar::list(value).filter(|c| c.eq_ignore_ascii_case(b"chunked")).count();
        let last = grammar::list(value).last();
        if chunked == 1
            && last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"))
            && grammar::list(value).count() > 1
            && grammar::list(value).all(grammar::is_token)
        {
            return Err(HeadError::Unsupported("a transfer coding besides chunked"));
        }
        Err(HeadError::Malformed("transfer-encoding has to be chunked"))
    }
}
