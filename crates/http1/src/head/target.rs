//! The request target, RFC 9112 §3.2.

use crate::grammar::{self, Port};
use crate::head::HeadError;

/// Which of the four forms a request target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://host/path?query`, as a client sends it to a proxy.
    Absolute,
    /// `host:port`, of CONNECT only.
    Authority,
    /// `*`, of OPTIONS only.
    Asterisk,
}

/// A target taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'b> {
    pub(crate) form: TargetForm,
    /// Of the absolute and authority forms, else empty.
    pub(crate) authority: &'b [u8],
    /// What an origin server is sent, empty for CONNECT.
    pub(crate) path: &'b [u8],
}

impl<'b> Target<'b> {
    /// Takes `target` apart. Its bytes are known to be printable or UTF-8.
    pub(crate) fn read(method: &[u8], target: &'b [u8]) -> Result<Self, HeadError> {
        if !target.is_ascii() {
            return Err(HeadError::Malformed("the target has bytes that must be percent-encoded"));
        }
        if memchr::memchr(b'#', target).is_some() {
            return Err(HeadError::Malformed("the target has a fragment"));
        }
        match target {
            _ if method == b"CONNECT" => Self::read_authority(target),
            [b'/', ..] => Ok(Self { form: TargetForm::Origin, authority: b"", path: target }),
            b"*" if method == b"OPTIONS" => {
                Ok(Self { form: TargetForm::Asterisk, authority: b"", path: target })
            }
            _ => Self::read_absolute(method, target),
        }
    }

    fn read_authority(target: &'b [u8]) -> Result<Self, HeadError> {
        match grammar::authority(target) {
            Some(Port::Given) => {
                Ok(Self { form: TargetForm::Authority, authority: target, path: b"" })
            }
            _ => Err(HeadError::Malformed("the target of CONNECT has to be HOST:PORT")),
        }
    }

    fn read_absolute(method: &[u8], target: &'b [u8]) -> Result<Self, HeadError> {
        let rest = after_scheme(target)
            .ok_or(HeadError::Malformed("the target has to be a path or an http(s) URI"))?;
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if grammar::authority(authority).is_none() {
            return Err(HeadError::Malformed("the authority of the target is not HOST[:PORT]"));
        }
        let path: &[u8] = match path {
            // RFC 9112 §3.2.4: the last proxy asks for the server as a whole.
            [] if method == b"OPTIONS" => b"*",
            [] => b"/",
            // Legal, and never seen: its path would have to be made up.
            [b'?', ..] => return Err(HeadError::Malformed("the target has a query but no path")),
            _ => path,
        };
        Ok(Self { form: TargetForm::Absolute, authority, path })
    }
}

fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}
