//! Trace context (W3C Trace Context, `traceparent`) and request ids: taken over or made anew.

use crate::random::Random;

/// The bit of the flags that says that the trace is recorded.
pub const SAMPLED: u8 = 0x01;
/// The bits of the flags that have a meaning: sampled, and (level 2) that the trace id is random.
/// The others must not be passed on.
const KNOWN_FLAGS: u8 = 0x03;

/// The longest request id that is taken over from a client, in bytes.
pub const MAX_REQUEST_ID: usize = 128;

/// One exchange's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, in lower-case hex, never all zero.
    pub trace_id: [u8; 32],
    /// This exchange's own span, in lower-case hex, never all zero.
    pub span_id: [u8; 16],
    /// The span that caused it; `None` where the trace begins here.
    pub parent: Option<[u8; 16]>,
    /// The flags, see [`SAMPLED`].
    pub flags: u8,
}

impl TraceContext {
    /// The value of `traceparent` for the next hop, in version 00.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut value = [b'-'; 55];
        value[..2].copy_from_slice(b"00");
        value[3..35].copy_from_slice(&self.trace_id);
        value[36..52].copy_from_slice(&self.span_id);
        value[53..].copy_from_slice(&[digit(self.flags >> 4), digit(self.flags)]);
        value
    }
}

/// A new span in the trace of `incoming`, the value of the one `traceparent` of a request; where
/// there is none, or one that is not valid, in a new trace.
///
/// Of several `traceparent` headers none is to be believed: pass `None`, and drop `tracestate`
/// whenever the result has no parent. A new trace is marked as sampled: an app that follows its
/// caller's choice would otherwise stop recording as soon as Pillion rides beside it.
pub fn continue_or_new(incoming: Option<&[u8]>, random: &mut Random) -> TraceContext {
    let span_id = new_span_id(random);
    match incoming.and_then(parse) {
        Some((trace_id, parent, flags)) => {
            TraceContext { trace_id, span_id, parent: Some(parent), flags: flags & KNOWN_FLAGS }
        }
        None => {
            TraceContext { trace_id: new_trace_id(random), span_id, parent: None, flags: SAMPLED }
        }
    }
}

/// Whether a request id of a client is fit to be kept, passed on and logged: 1 to
/// [`MAX_REQUEST_ID`] visible ASCII characters.
pub fn request_id_is_sane(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// A new request id: a random UUID (version 4, RFC 9562 §5.4).
pub fn new_request_id(random: &mut Random) -> [u8; 36] {
    let high = random.next() & !0xf000 | 0x4000;
    let low = random.next() & (u64::MAX >> 2) | (1 << 63);
    let (high, low) = (hex(high), hex(low));
    let mut id = [b'-'; 36];
    id[..8].copy_from_slice(&high[..8]);
    id[9..13].copy_from_slice(&high[8..12]);
    id[14..18].copy_from_slice(&high[12..]);
    id[19..23].copy_from_slice(&low[..4]);
    id[24..].copy_from_slice(&low[4..]);
    id
}

/// Trace id, parent id and flags of a valid `traceparent`.
///
/// A version above 00 may have more after the flags, behind one more dash; what it has is unknown
/// and ignored. Version ff is forbidden, and so are upper-case digits and ids of zeros.
fn parse(value: &[u8]) -> Option<([u8; 32], [u8; 16], u8)> {
    let (fixed, rest) = value.split_first_chunk::<55>()?;
    let version = byte(fixed[0], fixed[1])?;
    let ends_well = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|&next| next == b'-'),
    };
    if !ends_well || [fixed[2], fixed[35], fixed[52]] != [b'-'; 3] {
        return None;
    }
    let trace_id = id(fixed[3..35].try_into().ok()?)?;
    let parent = id(fixed[36..52].try_into().ok()?)?;
    Some((trace_id, parent, byte(fixed[53], fixed[54])?))
}

/// `digits`, where they are lower-case hex and not all zero.
fn id<const N: usize>(digits: [u8; N]) -> Option<[u8; N]> {
    let valid = digits.iter().all(|&digit| nibble(digit).is_some()) && digits != [b'0'; N];
    valid.then_some(digits)
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn new_span_id(random: &mut Random) -> [u8; 16] {
    hex(random.next().max(1))
}

fn new_trace_id(random: &mut Random) -> [u8; 32] {
    let mut trace_id = [0; 32];
    trace_id[..16].copy_from_slice(&hex(random.next()));
    trace_id[16..].copy_from_slice(&hex(random.next().max(1)));
    trace_id
}

/// The 16 lower-case hex digits of a number.
fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (at, pair) in number.to_be_bytes().into_iter().zip(digits.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(at >> 4), digit(at)]);
    }
    digits
}

/// The hex digit of the low four bits.
const fn digit(bits: u8) -> u8 {
    b"0123456789abcdef"[(bits & 0xf) as usize]
}

#[cfg(test)]
mod tests;
