//! Writing heads and chunk framing again.

use crate::head::line_start;
use crate::{Field, FieldSet};

/// The room that any chunk size needs: 16 digits, CR and LF.
const CHUNK_SIZE_BYTES: usize = 18;

/// Writes the size line of a chunk of `len` bytes into `out`, and returns it: `1a2b\r\n`. A `len`
/// of 0 starts the last chunk.
pub fn write_chunk_size(len: usize, out: &mut [u8; CHUNK_SIZE_BYTES]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let [digits @ .., cr, lf] = out;
    (*cr, *lf) = (b'\r', b'\n');
    let mut rest = len;
    let mut start = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = DIGITS[rest & 15];
        rest >>= 4;
        start = at;
        if rest == 0 {
            break;
        }
    }
    out.get(start..).unwrap_or_default()
}

/// Appends the field lines of `head` to `out` as they came, case and spacing kept, without those
/// at the positions in `drop`.
///
/// `head` is the buffer that `fields` were parsed from, up to [`len`](crate::RequestHead::len): the
/// lines are copied in runs, found by the addresses of their names.
pub fn copy_fields(head: &[u8], fields: &[Field<'_>], drop: FieldSet, out: &mut Vec<u8>) {
    let mut from = 0;
    while let Some(run) = drop.next_kept(from, fields.len()) {
        let lines = line_start(head, fields, run.start)..line_start(head, fields, run.end);
        debug_assert!(head.get(lines.clone()).is_some(), "fields of another buffer");
        out.extend_from_slice(head.get(lines).unwrap_or_default());
        from = run.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal_without_leading_zeros() {
        for len in [0, 1, 9, 10, 15, 16, 255, 256, 0x1a2b, usize::MAX >> 1, usize::MAX] {
            let mut out = [0; CHUNK_SIZE_BYTES];
            let line = write_chunk_size(len, &mut out);
            assert_eq!(line, format!("{len:x}\r\n").as_bytes());
        }
    }
}
