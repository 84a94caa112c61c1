//! A chunked body ends at one place and holds one payload, however it arrives and however it is
//! read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_http1::{Chunked, Framing, FramingError, write_chunk_size};

/// The length of the body in `pieces`, its payload, and whether it is complete.
fn decode<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(usize, Vec<u8>, bool), FramingError> {
    let mut framing = Framing::Chunked(Chunked::new());
    let (mut len, mut payload) = (0, Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() && !framing.is_complete() {
            let step = framing.decode(piece)?;
            assert!(step.consumed > 0);
            payload.extend_from_slice(&piece[step.payload]);
            piece = &piece[step.consumed..];
            len += step.consumed;
        }
    }
    Ok((len, payload, framing.is_complete()))
}

fn advance<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(usize, bool), FramingError> {
    let mut framing = Framing::Chunked(Chunked::new());
    let mut len = 0;
    for piece in pieces {
        len += framing.advance(piece)?;
    }
    Ok((len, framing.is_complete()))
}

fn encode(payload: &[u8], chunk: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = [0; 18];
    for chunk in payload.chunks(chunk) {
        out.extend_from_slice(write_chunk_size(chunk.len(), &mut line));
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(write_chunk_size(0, &mut line));
    out.extend_from_slice(b"\r\n");
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&split, body)) = data.split_first() else { return };
    let size = usize::from(split).max(1);
    let whole = decode(std::iter::once(body));
    assert_eq!(decode(body.chunks(size)), whole);
    let ends = whole.clone().map(|(len, _, complete)| (len, complete));
    assert_eq!(advance(std::iter::once(body)), ends);
    assert_eq!(advance(body.chunks(size)), ends);
    if let Ok((_, payload, true)) = whole {
        let again = encode(&payload, size);
        assert_eq!(decode(again.chunks(7)), Ok((again.len(), payload, true)));
    }
});
