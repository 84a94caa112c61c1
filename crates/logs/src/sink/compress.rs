//! Bodies, compressed into buffers that are used again.

use std::io;

use flate2::{Compress, FlushCompress, Status};
use pillion_model::logs::Compression;
use zstd::stream::raw::{Encoder, InBuffer, Operation as _, OutBuffer};

/// Quick rather than small: what a level more saves is not worth the processor time of a sidecar.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;
/// 32 KiB, the largest that gzip has.
const GZIP_WINDOW_BITS: u8 = 15;
/// How much a buffer grows at a time.
const ROOM: usize = 32 << 10;

/// Compresses one body after another.
pub(super) enum Compressor {
    None,
    Gzip(Box<Compress>),
    Zstd(Encoder<'static>),
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Self::Gzip(Box::new(Compress::new_gzip(level, GZIP_WINDOW_BITS)))
            }
            Compression::Zstd => Self::Zstd(Encoder::new(ZSTD_LEVEL)?),
        })
    }

    /// The value of `content-encoding`.
    pub(super) const fn coding(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
        }
    }

    /// Appends the parts, as one body.
    pub(super) fn pack(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => {
                out.reserve(parts.iter().map(|part| part.len()).sum());
                parts.iter().for_each(|part| out.extend_from_slice(part));
                Ok(())
            }
            Self::Gzip(compress) => gzip(compress, parts, out),
            Self::Zstd(encoder) => zstd(encoder, parts, out),
        }
    }
}

fn gzip(compress: &mut Compress, parts: &[&[u8]], out: &mut Vec<u8>) -> io::Result<()> {
    compress.reset();
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            out.reserve(ROOM);
            let before = compress.total_in();
            compress.compress_vec(rest, out, FlushCompress::None)?;
            let read = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
        }
    }
    loop {
        out.reserve(ROOM);
        if compress.compress_vec(&[], out, FlushCompress::Finish)? == Status::StreamEnd {
            return Ok(());
        }
    }
}

fn zstd(encoder: &mut Encoder<'static>, parts: &[&[u8]], out: &mut Vec<u8>) -> io::Result<()> {
    encoder.reinit()?;
    for part in parts {
        let mut input = InBuffer::around(part);
        while input.pos() < part.len() {
            out.reserve(ROOM);
            let written = out.len();
            encoder.run(&mut input, &mut OutBuffer::around_pos(out, written))?;
        }
    }
    loop {
        out.reserve(ROOM);
        let written = out.len();
        if encoder.finish(&mut OutBuffer::around_pos(out, written), true)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn unpacked(compression: Compression, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::None => out.extend_from_slice(packed),
            Compression::Gzip => {
                flate2::read::GzDecoder::new(packed).read_to_end(&mut out).unwrap();
            }
            Compression::Zstd => zstd::stream::copy_decode(packed, &mut out).unwrap(),
        }
        out
    }

    #[test]
    fn every_body_reads_back_and_stands_alone() {
        // Hard to compress, so that the buffer has to grow more than once.
        let mut random = pillion_traffic::Random::new(7);
        let noise: Vec<u8> = (0..300_000).map(|_| random.below(256) as u8).collect();
        let text = b"a line like the one before\n".repeat(10_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut compressor = Compressor::new(compression).unwrap();
            for parts in [&[&noise[..], b"", &text][..], &[b""], &[b"x"], &[&text]] {
                let mut out = Vec::new();
                compressor.pack(parts, &mut out).unwrap();
                assert!(unpacked(compression, &out) == parts.concat(), "{compression:?}");
            }
        }
    }
}
