//! Request heads, RFC 9112 §3 and §5.

use httparse::Status;

use crate::field_set::FieldSet;
use crate::grammar;
use crate::head::hop::{Hop, Known};
use crate::head::target::{Target, TargetForm};
use crate::head::{Fields, HeadError, Limits, Parsed, Version, check_line_ends};
use crate::{Field, Framing};

/// The longest method that is taken. The longest registered one has 17 bytes.
pub const METHOD_BYTES_MAX: usize = 32;

/// A request head that can be read in one way only.
#[derive(Debug)]
pub struct RequestHead<'b, 'f> {
    /// Bytes of the head in the buffer, with the empty line that ends it, and with one empty line
    /// before it if the client sent one (RFC 9112 §2.2).
    pub len: usize,
    /// The method: a token of at most [`METHOD_BYTES_MAX`] bytes.
    pub method: &'b [u8],
    /// The target as it was sent: printable ASCII without a fragment.
    pub target: &'b [u8],
    /// The version of the client.
    pub version: Version,
    /// Which form [`target`](Self::target) has.
    pub form: TargetForm,
    /// `host[:port]`: of the target if that has one, else of the `Host` field. Empty if the client
    /// sent an empty `Host`, or (in HTTP/1.0) none.
    pub authority: &'b [u8],
    /// Path and query for an origin server: never empty but for CONNECT, `/` where an absolute
    /// target has none, `*` for the asterisk form and OPTIONS of a whole server.
    pub path: &'b [u8],
    /// The field lines, in order.
    pub fields: &'f [Field<'b>],
    /// The fields that are not forwarded, RFC 9110 §7.6.1: `Connection` and what it names,
    /// `Keep-Alive`, `Proxy-Connection`, `Upgrade` unless [`upgrade`](Self::upgrade), `TE` unless it
    /// is exactly `trailers`. Also `Host` where the target has the authority: that one wins, and
    /// whoever writes the head writes it as `host` (RFC 9112 §3.2.2). `Proxy-Authorization` stays:
    /// it belongs to whoever challenged, and a sidecar does not.
    pub drop: FieldSet,
    /// Where `Content-Length` and `Transfer-Encoding` are: to be dropped as well when the body is
    /// framed anew, and only then.
    pub framing_fields: FieldSet,
    /// Where the body ends.
    pub body: Framing,
    /// Whether the client wants to keep the connection.
    pub keep_alive: bool,
    /// Whether the client asks for another protocol (RFC 9110 §7.8). The `Upgrade` field is then
    /// kept, and whoever writes the head adds `connection: upgrade`. Never for `h2c`.
    pub upgrade: bool,
    /// Whether the client waits for a 100 before it sends its body.
    pub expect_continue: bool,
    /// Whether the client takes trailers (`TE: trailers`).
    pub te_trailers: bool,
}

/// Reads the request head at the start of `buf`.
///
/// `fields` only lends its room. On [`Parsed::Partial`] call again with more bytes; the head is
/// then read from its start, a cost that `limits` bounds.
///
/// # Errors
/// Whatever is broken or could be read in two ways; see [`HeadError`]. The connection is lost.
pub fn parse_request<'b, 'f>(
    buf: &'b [u8],
    limits: &Limits,
    fields: &'f mut Fields<'b>,
) -> Result<Parsed<RequestHead<'b, 'f>>, HeadError> {
    let window = limits.window(buf);
    let Some(message) = skip_empty_line(window)? else { return limits.partial(window) };
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(message, fields.room(limits))? {
        Status::Complete(len) => len,
        Status::Partial => return limits.partial(window),
    };
    let fields: &'f [Field<'b>] = request.headers;
    let (Some(method), Some(target), Some(minor), Some(head)) =
        (request.method, request.path, request.version, message.get(..len))
    else {
        return limits.partial(window);
    };
    check_line_ends(head, fields)?;
    let line = RequestLine {
        len: len + (window.len() - message.len()),
        method: method.as_bytes(),
        target: target.as_bytes(),
        version: Version::from_minor(minor),
    };
    read_head(&line, fields).map(Parsed::Complete)
}

struct RequestLine<'b> {
    /// Of the whole head.
    len: usize,
    method: &'b [u8],
    target: &'b [u8],
    version: Version,
}

/// The message without the one empty line that may come before it; `None` when that is cut off.
fn skip_empty_line(window: &[u8]) -> Result<Option<&[u8]>, HeadError> {
    match window {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] | [b'\n', ..] => {
            Err(HeadError::Malformed("more than an empty line before the request line"))
        }
        [b'\r', b'\n', message @ ..] => Ok(Some(message)),
        message => Ok(Some(message)),
    }
}

fn read_head<'b, 'f>(
    line: &RequestLine<'b>,
    fields: &'f [Field<'b>],
) -> Result<RequestHead<'b, 'f>, HeadError> {
    let &RequestLine { len, method, target, version } = line;
    if method.len() > METHOD_BYTES_MAX {
        return Err(HeadError::Malformed("the method has more than 32 bytes"));
    }
    let Target { form, authority, path } = Target::read(method, target)?;
    let mut said = Said::default();
    for (position, field) in fields.iter().enumerate() {
        if let Some(known) = Known::of(field.name.as_bytes()) {
            said.read(position, known, field.value)?;
        }
    }
    said.hop.finish(version, fields)?;
    said.check(version, form)?;
    let upgrade = said.hop.upgrade(version) && form != TargetForm::Authority;
    if upgrade {
        said.hop.keep_upgrade_fields();
    }
    let targets_authority = !authority.is_empty();
    if targets_authority {
        said.hop.drop = said.hop.drop.union(said.host_fields);
    }
    Ok(RequestHead {
        len,
        method,
        target,
        version,
        form,
        authority: if targets_authority { authority } else { said.host.unwrap_or_default() },
        path,
        fields,
        drop: said.hop.drop,
        framing_fields: said.hop.framing_fields,
        body: said.hop.framing().unwrap_or(Framing::Empty),
        keep_alive: said.hop.keep_alive(version),
        upgrade,
        // RFC 9110 §10.1.1: a 1.0 client does not know what it says.
        expect_continue: said.expect_continue && version == Version::Http11,
        te_trailers: said.te_trailers,
    })
}

/// What the fields of a request say.
#[derive(Default)]
struct Said<'b> {
    hop: Hop<'b>,
    host: Option<&'b [u8]>,
    host_fields: FieldSet,
    expect_continue: bool,
    te_trailers: bool,
}

impl<'b> Said<'b> {
    fn read(&mut self, position: usize, known: Known, value: &'b [u8]) -> Result<(), HeadError> {
        match known {
            Known::Host => {
                if self.host.replace(value).is_some() {
                    return Err(HeadError::Malformed("host is given twice"));
                }
                self.host_fields.insert(position);
                if !value.is_empty() && grammar::authority(value).is_none() {
                    return Err(HeadError::Malformed("host has to be HOST[:PORT]"));
                }
                Ok(())
            }
            Known::Expect => {
                self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            Known::Te => {
                self.te_trailers |= grammar::list(value).any(is_trailers);
                if !is_trailers(value) {
                    self.hop.drop.insert(position);
                }
                Ok(())
            }
            _ => self.hop.read(position, known, value),
        }
    }

    fn check(&self, version: Version, form: TargetForm) -> Result<(), HeadError> {
        if self.host.is_none() && version == Version::Http11 {
            return Err(HeadError::Malformed("an HTTP/1.1 request needs a host"));
        }
        let body = self.hop.chunked || self.hop.content_length.is_some_and(|len| len > 0);
        if form == TargetForm::Authority && body {
            return Err(HeadError::Malformed("CONNECT with a body"));
        }
        Ok(())
    }
}

fn is_trailers(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"trailers")
}

#[cfg(test)]
mod tests;
