//! HTTP/2 frame by frame, for peers that do what no library would.

use pillion_testkit::Stream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Says hello as a server: reads the preface, sends empty SETTINGS.
pub(crate) fn greet_client(stream: &mut Stream) -> std::io::Result<()> {
    stream.try_read_exact(PREFACE.len())?;
    stream.try_send(frame(SETTINGS, 0, 0, b""))
}

/// Says hello as a client.
pub(crate) fn greet_server(stream: &mut Stream) {
    stream.try_send(PREFACE).unwrap();
    stream.try_send(frame(SETTINGS, 0, 0, b"")).unwrap();
}

pub(crate) fn next(stream: &mut Stream) -> std::io::Result<Frame> {
    let head = stream.try_read_exact(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let payload = stream.try_read_exact(length as usize)?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok(Frame { kind: head[3], flags: head[4], stream: id, payload })
}

/// Reads on to the next frame of this kind.
pub(crate) fn next_of(stream: &mut Stream, kind: u8) -> std::io::Result<Frame> {
    loop {
        let frame = next(stream)?;
        if frame.kind == kind {
            return Ok(frame);
        }
    }
}

/// A response head with no field but the status, whose code HPACK has in its static table.
pub(crate) fn head(stream: u32, status: u16, flags: u8) -> Vec<u8> {
    let index = match status {
        200 => 0x88,
        204 => 0x89,
        304 => 0x8b,
        other => {
            // A literal: `:status` with a value of its own.
            let block = format!("\x08\x03{other:03}");
            return frame(HEADERS, END_HEADERS | flags, stream, block.as_bytes());
        }
    };
    frame(HEADERS, END_HEADERS | flags, stream, &[index])
}

/// A request without fields, to the authority `app`.
pub(crate) fn request(stream: u32, method: &str, flags: u8) -> Vec<u8> {
    let method = match method {
        "GET" => 0x82,
        "POST" => 0x83,
        other => panic!("no short form of {other}"),
    };
    let block = [&[method, 0x86, 0x84, 0x41, 3][..], b"app"].concat();
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}
