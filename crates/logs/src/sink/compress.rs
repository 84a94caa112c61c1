//! Bodies, compressed.

use std::io;

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};
use pillion_model::logs::Compression;
use zstd::stream::raw::{Encoder, InBuffer, Operation as _, OutBuffer};

/// Quick rather than small. Of 4 MiB of JSON records, levels 1, 2 and 3 of gzip made a 4.0th, 5.9th
/// and 6.0th at 390, 333 and 261 MB a second of one core; level 6 a 6.5th at 62 MB.
const GZIP_LEVEL: u32 = 2;
/// Of the same, levels -1, 1 and 3 made a 4.3rd, 6.9th and 6.4th at 1540, 1251 and 127 MB a second.
const ZSTD_LEVEL: i32 = 1;
/// 32 KiB, the largest that gzip has.
const GZIP_WINDOW_BITS: u8 = 15;
/// How much a buffer grows at a time.
const ROOM: usize = 32 << 10;
/// Logs become a fourth at least, mostly. A buffer that need not grow leaves nothing behind that the
/// allocator keeps for a while.
const USUAL: usize = 4;

/// Compresses one body after another.
pub(super) enum Compressor {
    Gzip(Box<Compress>),
    Zstd(Encoder<'static>),
}

impl Compressor {
    /// `None` where bodies are sent as they are.
    pub(super) fn new(compression: Compression) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Some(Self::Gzip(Box::new(Compress::new_gzip(level, GZIP_WINDOW_BITS))))
            }
            Compression::Zstd => Some(Self::Zstd(Encoder::new(ZSTD_LEVEL)?)),
        })
    }

    /// The value of `content-encoding`.
    pub(super) const fn coding(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }

    /// The parts, as one body.
    pub(super) fn pack(&mut self, parts: &[Bytes]) -> io::Result<Vec<u8>> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let mut out = Vec::with_capacity(length / USUAL + ROOM);
        match self {
            Self::Gzip(compress) => gzip(compress, parts, &mut out)?,
            Self::Zstd(encoder) => zstd(encoder, parts, &mut out)?,
        }
        Ok(out)
    }
}

fn gzip(compress: &mut Compress, parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
    compress.reset();
    for part in parts {
        let mut rest = &part[..];
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

fn zstd(encoder: &mut Encoder<'static>, parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
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
            Compression::None => {}
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
        let [noise, text] =
            [noise, b"a line like the one before\n".repeat(10_000)].map(Bytes::from);
        let [empty, letter] = ["", "x"].map(Bytes::from);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut compressor = Compressor::new(compression).unwrap().unwrap();
            for parts in [
                vec![noise.clone(), empty.clone(), text.clone()],
                vec![empty.clone()],
                vec![letter.clone()],
                vec![text.clone()],
            ] {
                let out = compressor.pack(&parts).unwrap();
                assert!(unpacked(compression, &out) == parts.concat(), "{compression:?}");
            }
        }
        assert!(Compressor::new(Compression::None).unwrap().is_none());
    }
}
