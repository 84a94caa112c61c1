//! A slow and obvious reader, to compare the engine with.

use crate::conversation::Message;

/// What a chunked body amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// The payload, and how many bytes the body takes.
    Complete(Vec<u8>, usize),
    /// More bytes are needed, if it is not refused before that.
    Unfinished,
    Refused,
}

/// Reads a chunked body line by line, from all of its bytes.
pub(crate) fn chunks(data: &[u8]) -> Chunks {
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&data[at..]) else { return Chunks::Unfinished };
        at += line.len() + 2;
        let Some(size) = chunk_size(line) else { return Chunks::Refused };
        if size == 0 {
            break;
        }
        let Some(chunk) = usize::try_from(size).ok().and_then(|size| data[at..].get(..size)) else {
            return Chunks::Unfinished;
        };
        payload.extend_from_slice(chunk);
        at += chunk.len();
        match data[at..].get(..2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Chunks::Refused,
            None => return Chunks::Unfinished,
        }
    }
    loop {
        let Some(line) = line(&data[at..]) else { return Chunks::Unfinished };
        at += line.len() + 2;
        if line.is_empty() {
            return Chunks::Complete(payload, at);
        }
        if !is_field(line) {
            return Chunks::Refused;
        }
    }
}

/// Up to the first CR LF, which is left out.
fn line(data: &[u8]) -> Option<&[u8]> {
    let end = data.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&data[..end])
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?;
    let extension = &line[digits.len()..];
    let hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    if !hexadecimal || digits.len() > 16 || extension.len() > 512 || !is_text(extension) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return false };
    let name = &line[..colon];
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(token) && is_text(&line[colon + 1..])
}

fn is_text(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// The first whole request in `data` and its length, as a trusting origin reads it that only ever
/// sees what a proxy has cleaned.
pub(crate) fn request(data: &[u8]) -> Option<(Message, usize)> {
    let end = data.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&data[..end]).to_lowercase();
    let value = |name: &str| {
        let start = head.find(&format!("\r\n{name}:"))? + name.len() + 3;
        head[start..].lines().next().map(|value| value.trim().to_owned())
    };
    let method = data.split(|&byte| byte == b' ').next()?;
    let (body, len) = if value("transfer-encoding").is_some() {
        let Chunks::Complete(payload, len) = chunks(&data[end..]) else { return None };
        (payload, len)
    } else {
        let len = value("content-length").map_or(Some(0), |value| value.parse().ok())?;
        (data[end..].get(..len)?.to_vec(), len)
    };
    Some((Message { method: String::from_utf8_lossy(method).into(), body }, end + len))
}
