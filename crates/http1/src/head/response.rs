//! Response heads, RFC 9112 §4 and §6.3.

use httparse::Status;

use crate::field_set::FieldSet;
use crate::head::hop::{Hop, Known};
use crate::head::{Fields, HeadError, Limits, Parsed, Version, check_line_ends, line_start};
use crate::{Field, Framing};

/// What about the request decides how its response is framed, RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// HEAD: the response has no body, whatever it says.
    pub is_head: bool,
    /// CONNECT: a 2xx opens a tunnel.
    pub is_connect: bool,
    /// An upgrade was passed on: a 101 opens a tunnel.
    pub upgrade: bool,
}

/// A response head that can be read in one way only.
#[derive(Debug)]
pub struct ResponseHead<'b, 'f> {
    /// Bytes of the head in the buffer, with the empty line that ends it.
    pub len: usize,
    /// 100 to 999. A 1xx other than 101 is a head of its own; the final one is still to come.
    pub status: u16,
    /// What follows the status and one space; may be empty, may hold bytes that are not ASCII.
    pub reason_phrase: &'b [u8],
    /// The version of the server.
    pub version: Version,
    /// The field lines, in order.
    pub fields: &'f [Field<'b>],
    /// The fields that are not forwarded, RFC 9110 §7.6.1: `Connection` and what it names,
    /// `Keep-Alive`, `Proxy-Connection`, `Upgrade` unless [`is_upgrade`](Self::is_upgrade). Also
    /// `Content-Length` and `Transfer-Encoding` where a response cannot have them: 1xx, 204, and
    /// the 2xx of CONNECT (RFC 9110 §8.6, RFC 9112 §6.1).
    pub drop: FieldSet,
    /// Where `Content-Length` and `Transfer-Encoding` are: to be dropped as well when the body is
    /// framed anew, and only then.
    pub framing_fields: FieldSet,
    /// Where the body ends.
    pub body: Framing,
    /// Whether the connection can carry another exchange once the body is complete.
    pub keep_alive: bool,
    /// Whether the connection becomes a tunnel: 101 to an upgrade, 2xx to CONNECT. Every byte after
    /// the head belongs to the tunnel.
    pub is_upgrade: bool,
    /// The `Content-Length`, also where no body follows (HEAD, 304).
    pub content_length: Option<u64>,
}

/// Reads the response head at the start of `buf`; `request` is what it answers.
///
/// `fields` only lends its room. On [`Parsed::Partial`] call again with more bytes.
///
/// # Errors
/// Whatever is broken or could be read in two ways; see [`HeadError`]. The connection is lost.
pub fn parse_response<'b, 'f>(
    buf: &'b [u8],
    request: RequestFacts,
    limits: &Limits,
    fields: &'f mut Fields<'b>,
) -> Result<Parsed<ResponseHead<'b, 'f>>, HeadError> {
    let window = limits.window(buf);
    if matches!(window.first(), Some(b'\r' | b'\n')) {
        return Err(HeadError::Malformed("an empty line before the status line"));
    }
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let room = fields.room(limits);
    let len = match config.parse_response_with_uninit_headers(&mut response, window, room)? {
        Status::Complete(len) => len,
        Status::Partial => return limits.partial(window),
    };
    let fields: &'f [Field<'b>] = response.headers;
    let (Some(status), Some(minor), Some(head)) =
        (response.code, response.version, window.get(..len))
    else {
        return limits.partial(window);
    };
    check_line_ends(head, fields)?;
    let line = StatusLine {
        len,
        status,
        reason_phrase: reason_phrase(head, fields),
        version: Version::from_minor(minor),
    };
    read_head(&line, request, fields).map(Parsed::Complete)
}

struct StatusLine<'b> {
    /// Of the whole head.
    len: usize,
    status: u16,
    reason_phrase: &'b [u8],
    version: Version,
}

/// From the bytes: httparse reports a phrase with obs-text as empty.
fn reason_phrase<'b>(head: &'b [u8], fields: &[Field<'_>]) -> &'b [u8] {
    const BEFORE: usize = "HTTP/1.1 200 ".len();
    let end = line_start(head, fields, 0).saturating_sub(2);
    head.get(BEFORE..end).unwrap_or_default()
}

fn read_head<'b, 'f>(
    line: &StatusLine<'b>,
    request: RequestFacts,
    fields: &'f [Field<'b>],
) -> Result<ResponseHead<'b, 'f>, HeadError> {
    let &StatusLine { len, status, reason_phrase, version } = line;
    if status < 100 {
        return Err(HeadError::Malformed("the status is below 100"));
    }
    let mut hop = Hop::default();
    for (position, field) in fields.iter().enumerate() {
        if let Some(known) = Known::of(field.name.as_bytes()) {
            hop.read(position, known, field.value)?;
        }
    }
    hop.finish(version, fields)?;
    let is_upgrade = is_upgrade(status, version, request, &hop)?;
    if status == 101 {
        hop.keep_upgrade_fields();
    }
    let body = body(status, request, is_upgrade, &hop);
    let mut keep_alive = hop.keep_alive(version) && !matches!(body, Framing::UntilClose);
    if is_upgrade || status < 200 || status == 204 {
        hop.drop = hop.drop.union(hop.framing_fields);
        // A server that announces a body here may well send one: nothing after it can be trusted.
        keep_alive &= !hop.chunked && hop.content_length.unwrap_or(0) == 0;
    }
    Ok(ResponseHead {
        len,
        status,
        reason_phrase,
        version,
        fields,
        drop: hop.drop,
        framing_fields: hop.framing_fields,
        body,
        keep_alive,
        is_upgrade,
        content_length: hop.content_length,
    })
}

fn is_upgrade(
    status: u16,
    version: Version,
    request: RequestFacts,
    hop: &Hop<'_>,
) -> Result<bool, HeadError> {
    match status {
        101 if !request.upgrade => Err(HeadError::Malformed("a 101 that nobody asked for")),
        101 if !hop.upgrade(version) => {
            Err(HeadError::Malformed("a 101 that does not name its protocol"))
        }
        101 => Ok(true),
        200..=299 => Ok(request.is_connect),
        _ => Ok(false),
    }
}

fn body(status: u16, request: RequestFacts, is_upgrade: bool, hop: &Hop<'_>) -> Framing {
    let never = is_upgrade || request.is_head || status < 200 || matches!(status, 204 | 304);
    if never { Framing::Empty } else { hop.framing().unwrap_or(Framing::UntilClose) }
}

#[cfg(test)]
mod tests;
