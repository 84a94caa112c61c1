//! Lines, their places and their limits, however the bytes arrive.

use proptest::prelude::*;

use super::*;

/// A line that owns its bytes.
type Owned = (Vec<u8>, u64, u64, bool);
/// Bytes, and text, start and end of each of their lines.
type Case<'a> = (&'a [u8], &'a [(&'a [u8], u64, u64)]);

fn owned(line: Line<'_>) -> Owned {
    (line.bytes.to_vec(), line.start, line.end, line.truncated)
}

/// All lines of the blocks, with what is left at the end.
fn frame<'a>(framer: &mut Framer, blocks: impl Iterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut all = Vec::new();
    for block in blocks {
        let mut lines = framer.lines(block);
        while let Some(line) = lines.next() {
            all.push(owned(line));
        }
    }
    all.extend(framer.flush().map(owned));
    all
}

fn frame_whole(encoding: Encoding, limit: usize, bytes: &[u8]) -> Vec<Owned> {
    frame(&mut Framer::new(encoding, limit, 0), std::iter::once(bytes))
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn lines_end_at_line_feeds_and_lose_one_carriage_return() {
    let cases: [Case<'_>; 8] = [
        (b"", &[]),
        (b"a\n", &[(b"a", 0, 2)]),
        (b"a\r\nb\n", &[(b"a", 0, 3), (b"b", 3, 5)]),
        (b"a\r\r\n", &[(b"a\r", 0, 4)]),
        (b"\n\n", &[(b"", 0, 1), (b"", 1, 2)]),
        (b"a\rb\n", &[(b"a\rb", 0, 4)]),
        (b"a\nrest", &[(b"a", 0, 2), (b"rest", 2, 6)]),
        (b"\r\n", &[(b"", 0, 2)]),
    ];
    for (bytes, expected) in cases {
        let expected: Vec<Owned> = expected
            .iter()
            .map(|(line, start, end)| (line.to_vec(), *start, *end, false))
            .collect();
        for size in 1..=bytes.len().max(1) {
            let mut framer = Framer::new(Encoding::Utf8, 100, 0);
            let lines = frame(&mut framer, bytes.chunks(size));
            assert_eq!(lines, expected, "{} in blocks of {size}", bytes.escape_ascii());
        }
    }
}

#[test]
fn the_limit_is_held_to_the_byte_and_the_next_line_is_whole() {
    let cases: [(&[u8], &[u8], u64); 5] = [
        (b"12345\nnext\n", b"12345", 0),
        (b"12345\r\nnext\n", b"12345", 0),
        (b"123456\nnext\n", b"12345", 1),
        (b"123456\r\nnext\n", b"12345", 2),
        (b"1234567890\nnext\n", b"12345", 5),
    ];
    for (bytes, kept, cut) in cases {
        for size in 1..=bytes.len() {
            let mut framer = Framer::new(Encoding::Utf8, 5, 0);
            let lines = frame(&mut framer, bytes.chunks(size));
            let [first, next] = lines.as_slice() else { panic!("{lines:?}") };
            assert_eq!((first.0.as_slice(), first.3), (kept, cut > 0), "{}", bytes.escape_ascii());
            assert_eq!((next.0.as_slice(), next.3), (b"next".as_slice(), false));
            assert_eq!(framer.take_left_out().cut, cut);
        }
    }
}

/// fluent-bit stops reading the file, vector drops the line.
#[test]
fn a_long_line_is_cut_and_marked_and_its_file_goes_on() {
    let mut framer = Framer::new(Encoding::Utf8, 1000, 0);
    let huge = vec![b'x'; 4096];
    for _ in 0..2560 {
        assert!(framer.lines(&huge).next().is_none());
        assert!(framer.held() <= 1001 && framer.rest.capacity() <= 1001);
    }
    let mut lines = framer.lines(b"\nnext\n");
    let long = lines.next().map(owned).unwrap();
    assert_eq!(long, (vec![b'x'; 1000], 0, 10 * 1024 * 1024 + 1, true));
    assert_eq!(lines.next().map(|line| line.bytes), Some(b"next".as_slice()));
    assert_eq!(framer.take_left_out().cut, 10 * 1024 * 1024 - 1000);
}

#[test]
fn a_cut_does_not_split_a_character() {
    let cases: [(Encoding, Vec<u8>, usize, Vec<u8>); 5] = [
        (Encoding::Utf8, "aé€\n".into(), 2, "a".into()),
        (Encoding::Utf8, "aé€\n".into(), 5, "aé".into()),
        (Encoding::Utf8, b"\x80\x80\x80\x80\x80\x80\n".to_vec(), 4, b"\x80\x80\x80\x80".to_vec()),
        (Encoding::Utf16Le, utf16("a😀b\n", u16::to_le_bytes), 5, utf16("a", u16::to_le_bytes)),
        (Encoding::Utf16Be, utf16("a😀b\n", u16::to_be_bytes), 7, utf16("a😀", u16::to_be_bytes)),
    ];
    for (encoding, bytes, limit, kept) in cases {
        let lines = frame_whole(encoding, limit, &bytes);
        assert_eq!(lines, [(kept, 0, bytes.len() as u64, true)], "{}", bytes.escape_ascii());
    }
}

#[test]
fn utf_16_ends_lines_in_whole_units() {
    // U+0A0A and U+0D0A hold the bytes of line ends without being any.
    let text = "a\u{a0a}b\r\n\u{a00}\u{d0a}\nlast";
    for (encoding, bytes) in [
        (Encoding::Utf16Le, u16::to_le_bytes as fn(u16) -> [u8; 2]),
        (Encoding::Utf16Be, u16::to_be_bytes),
    ] {
        let input = utf16(text, bytes);
        let expected: Vec<_> =
            ["a\u{a0a}b", "\u{a00}\u{d0a}", "last"].map(|line| utf16(line, bytes)).into();
        for size in 1..=input.len() {
            let lines = frame(&mut Framer::new(encoding, 100, 0), input.chunks(size));
            let kept: Vec<_> = lines.iter().map(|line| line.0.clone()).collect();
            assert_eq!(kept, expected, "{encoding:?} in blocks of {size}");
        }
    }
}

#[test]
fn a_hole_in_front_of_a_line_takes_nothing_of_its_limit() {
    for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be] {
        let line: &[u8] = match encoding {
            Encoding::Utf16Le => b"a\0b\0",
            Encoding::Utf16Be => b"\0a\0b",
            Encoding::Utf8 | Encoding::Latin1 => b"abcd",
        };
        let end: &[u8] = match encoding {
            Encoding::Utf16Le => b"\n\0",
            Encoding::Utf16Be => b"\0\n",
            Encoding::Utf8 | Encoding::Latin1 => b"\n",
        };
        let bytes = [&[0; 50], line, end, &[0; 20]].concat();
        for size in 1..=bytes.len() {
            let mut framer = Framer::new(encoding, 4, 0);
            let lines = frame(&mut framer, bytes.chunks(size));
            let after = 50 + (line.len() + end.len()) as u64;
            assert_eq!(lines, [(line.to_vec(), 50, after, false)], "{encoding:?} by {size}");
            assert_eq!(framer.take_left_out().hole, 70);
        }
    }
}

#[test]
fn lines_that_are_not_asked_for_are_not_lost() {
    let mut framer = Framer::new(Encoding::Utf8, 100, 40);
    let block = b"one\ntwo\nthree\n";
    assert_eq!(framer.lines(block).next().unwrap().bytes, b"one");
    assert_eq!(framer.offset(), 44);
    assert_eq!(framer.lines(&block[4..]).next().unwrap().bytes, b"two");
}

/// All lines, where each framer that rests is replaced by a new one.
fn frame_anew(encoding: Encoding, limit: usize, blocks: &[&[u8]]) -> (Vec<Owned>, usize) {
    let (mut framer, mut all, mut replaced) = (Framer::new(encoding, limit, 0), Vec::new(), 0);
    for block in blocks {
        let mut lines = framer.lines(block);
        while let Some(line) = lines.next() {
            all.push(owned(line));
        }
        if framer.rests() {
            framer = Framer::new(encoding, limit, framer.offset());
            replaced += 1;
        }
    }
    all.extend(framer.flush().map(owned));
    (all, replaced)
}

#[test]
fn a_framer_that_rests_can_be_replaced() {
    let bytes = b"one\r\ntwo\n\nlonger than the limit\nlast\n";
    for size in 1..bytes.len() {
        let blocks: Vec<&[u8]> = bytes.chunks(size).collect();
        let (lines, replaced) = frame_anew(Encoding::Utf8, 5, &blocks);
        assert_eq!(lines, frame_whole(Encoding::Utf8, 5, bytes), "blocks of {size}");
        assert!(replaced >= 1, "blocks of {size}");
    }
    let mut framer = Framer::new(Encoding::Utf8, 100, 0);
    let mut lines = framer.lines(b"no end");
    assert!(lines.next().is_none());
    assert!(!framer.rests());
}

proptest! {
    #[test]
    fn any_split_into_blocks_gives_the_same_lines(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()], 0..200),
        sizes in prop::collection::vec(1usize..40, 1..20),
        limit in 1usize..30,
        encoding in prop_oneof![
            Just(Encoding::Utf8), Just(Encoding::Latin1), Just(Encoding::Utf16Le), Just(Encoding::Utf16Be)
        ],
    ) {
        let whole = frame_whole(encoding, limit, &bytes);
        let mut framer = Framer::new(encoding, limit, 0);
        let mut rest = bytes.as_slice();
        let mut blocks = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break }
            let (block, after) = rest.split_at((*size).min(rest.len()));
            blocks.push(block);
            rest = after;
        }
        let split = frame(&mut framer, blocks.into_iter());
        prop_assert_eq!(&split, &whole);
        prop_assert!(split.iter().all(|line| line.0.len() <= limit.max(2)));
        prop_assert!(split.windows(2).all(|pair| pair[0].2 <= pair[1].1));
    }
}
