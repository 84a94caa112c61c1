//! What a reader makes of the bytes of a whole connection.

use std::fmt;

use pillion_http1::{Fields, Limits, Parsed, parse_request};

pub(crate) const LIMITS: Limits = Limits { head_bytes: 16 * 1024, head_fields: 100 };

/// One request that was read to its end.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.method, self.body.escape_ascii().to_string())
    }
}

/// The requests that Pillion reads from `raw`, until it refuses, the connection is not kept, or
/// nothing complete is left.
pub(crate) fn read(mut raw: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let mut fields = Fields::new();
        let Ok(Parsed::Complete(head)) = parse_request(raw, &LIMITS, &mut fields) else { break };
        let (mut framing, mut body) = (head.body, Vec::new());
        raw = &raw[head.len..];
        while !framing.is_complete() && !raw.is_empty() {
            let Ok(decoded) = framing.decode(raw) else { return messages };
            body.extend_from_slice(&raw[decoded.payload]);
            raw = &raw[decoded.consumed..];
        }
        if !framing.is_complete() {
            break;
        }
        messages.push(Message { method: String::from_utf8_lossy(head.method).into(), body });
        if !head.keep_alive {
            break;
        }
    }
    messages
}
