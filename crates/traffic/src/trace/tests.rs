//! The rules of W3C Trace Context, by table and by property.

use proptest::prelude::*;

use super::{SAMPLED, continue_or_new, new_request_id, request_id_is_sane};
use crate::random::Random;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn a_valid_traceparent_is_continued() {
    for (version, flags, rest, expect_flags) in [
        ("00", "01", "", 0x01),
        ("00", "00", "", 0x00),
        // Level 2: the trace id is random.
        ("00", "03", "", 0x03),
        // Unknown flags are not passed on.
        ("00", "ff", "", 0x03),
        // Later versions may be longer.
        ("01", "01", "", 0x01),
        ("cc", "01", "-what-the-future-brings", 0x01),
        ("fe", "01", "-", 0x01),
    ] {
        let incoming = format!("{version}-{TRACE}-{SPAN}-{flags}{rest}");
        let context = continue_or_new(Some(incoming.as_bytes()), &mut Random::new(1));
        assert_eq!(&context.trace_id, TRACE.as_bytes(), "{incoming}");
        assert_eq!(context.parent.unwrap(), SPAN.as_bytes(), "{incoming}");
        assert_eq!(context.flags, expect_flags, "{incoming}");
        let outgoing = String::from_utf8(context.traceparent().to_vec()).unwrap();
        let span = std::str::from_utf8(&context.span_id).unwrap();
        assert_ne!(span, SPAN);
        assert_eq!(outgoing, format!("00-{TRACE}-{span}-0{expect_flags}"));
    }
}

#[test]
fn an_invalid_traceparent_begins_a_new_trace() {
    let zeros = "0".repeat(32);
    for incoming in [
        String::new(),
        "00".to_owned(),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("ff-{TRACE}-{SPAN}-01-more"),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("0A-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-0A"),
        format!("0g-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-0"),
        format!("00-{TRACE}-{SPAN}-011"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("01-{TRACE}-{SPAN}-01more"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}_{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}_01"),
        format!(" 00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01 "),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        format!("00-{}é-{SPAN}-01", &TRACE[2..]),
    ] {
        let context = continue_or_new(Some(incoming.as_bytes()), &mut Random::new(1));
        assert_eq!(context.parent, None, "{incoming}");
        assert_eq!(context, continue_or_new(None, &mut Random::new(1)), "{incoming}");
        assert_eq!(context.flags, SAMPLED);
    }
}

proptest! {
    #[test]
    fn what_one_hop_writes_the_next_continues(seed in any::<u64>(), next_seed in any::<u64>()) {
        let first = continue_or_new(None, &mut Random::new(seed));
        let next = continue_or_new(Some(&first.traceparent()), &mut Random::new(next_seed));
        prop_assert_eq!(next.trace_id, first.trace_id);
        prop_assert_eq!(next.parent, Some(first.span_id));
        prop_assert_eq!(next.flags, first.flags);
    }

    #[test]
    fn any_bytes_at_all_give_a_valid_context(
        incoming in prop::collection::vec(any::<u8>(), 0..80),
        seed in any::<u64>(),
    ) {
        let context = continue_or_new(Some(&incoming), &mut Random::new(seed));
        let again = continue_or_new(Some(&context.traceparent()), &mut Random::new(seed));
        prop_assert_eq!(again.parent, Some(context.span_id));
    }
}

#[test]
fn ids_do_not_repeat() {
    let mut random = Random::new(5);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10_000 {
        let context = continue_or_new(None, &mut random);
        assert!(seen.insert(context.trace_id.to_vec()));
        assert!(seen.insert(context.span_id.to_vec()));
    }
}

#[test]
fn a_new_request_id_is_a_random_uuid() {
    let mut random = Random::new(5);
    for _ in 0..100 {
        let id = String::from_utf8(new_request_id(&mut random).to_vec()).unwrap();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f' | b'-')), "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert!(request_id_is_sane(id.as_bytes()));
    }
}

#[test]
fn a_request_id_is_kept_when_it_is_short_and_visible() {
    for (id, expect) in [
        (&b"a"[..], true),
        (b"req/42:~!", true),
        (&[b'x'; 128], true),
        (&[b'x'; 129], false),
        (b"", false),
        (b"two words", false),
        (b"tab\t", false),
        (b"line\n", false),
        (b"nul\0", false),
        (b"del\x7f", false),
        ("é".as_bytes(), false),
    ] {
        assert_eq!(request_id_is_sane(id), expect, "{}", id.escape_ascii());
    }
}
