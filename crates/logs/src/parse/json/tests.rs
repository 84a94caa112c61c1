use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::parse::fields::MAX_ATTRIBUTES;
use crate::parse::tests::{shown, shown_record};

#[test]
fn members_become_attributes_or_what_they_mean() {
    let cases = [
        ("{}", ""),
        (" { } ", ""),
        (r#"{"a":1,"b":"x","c":{"d":[1,2,{}]},"e":null}"#, r#"a=1 b=x c={"d":[1,2,{}]} e=null"#),
        (
            r#"{"message":"hi","level":"warn","time":"2026-11-21T10:00:00Z"}"#,
            "@1795255200000000000 warn(13) body: hi",
        ),
        (
            r#"{"level":30,"time":1795255200000,"pid":7,"msg":"pino"}"#,
            "@1795255200000000000 30(9) body: pino pid=7",
        ),
        (
            r#"{"ts":1795255200.5,"level":"INFO","msg":"zap"}"#,
            "@1795255200500000000 INFO(9) body: zap",
        ),
        (
            r#"{"@timestamp":"2026-11-21T10:00:00.000Z","log.level":"ERROR","message":"ecs"}"#,
            "@1795255200000000000 ERROR(17) body: ecs",
        ),
        (
            r#"{"t":"2026\/11\/21 10:00:00","lvl":"dbg","event":"structlog"}"#,
            "@1795255200000000000 dbg(5) body: structlog",
        ),
        // Of several that mean the same, the better known counts; the other is an attribute.
        (r#"{"msg":"a","message":"b"}"#, "body: b msg=a"),
        (r#"{"message":"b","msg":"a"}"#, "body: b msg=a"),
        // A name alone does not make a meaning.
        (
            r#"{"t":21.5,"level":"loud","event":{"a":1},"time":null}"#,
            r#"t=21.5 level=loud event={"a":1} time=null"#,
        ),
        (r#"{"message":"a\"b"}"#, "body: a\"b"),
        (r#"{"a\nb":"c\td"}"#, "a\nb=c\td"),
        // The last of one name counts, as for most readers.
        (r#"{"a":1,"b":2,"a":3}"#, "a=3 b=2"),
        (r#"{"a":1,"\u0061":2}"#, "a=2"),
        (r#"{"msg":"a","msg":"b"}"#, "body: b"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(parse, text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn the_trace_of_a_record_is_found_under_its_usual_names() {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let both = format!("trace {trace}/{span}");
    let cases = [
        (format!(r#"{{"trace_id":"{trace}","span_id":"{span}"}}"#), both.clone()),
        (format!(r#"{{"spanId":"{span}","traceId":"{trace}"}}"#), both.clone()),
        (format!(r#"{{"trace.id":"{trace}","span.id":"{span}"}}"#), both.clone()),
        (format!(r#"{{"traceparent":"00-{trace}-{span}-01"}}"#), both),
        (format!(r#"{{"trace_id":"{trace}"}}"#), format!("trace {trace}/0000000000000000")),
        (format!(r#"{{"span_id":"{span}"}}"#), format!("span_id={span}")),
        (
            r#"{"trace_id":"00000000000000000000000000000000"}"#.into(),
            "trace_id=00000000000000000000000000000000".into(),
        ),
        (format!(r#"{{"dd.trace_id":"{trace}"}}"#), format!("dd.trace_id={trace}")),
        (
            format!(r#"{{"traceparent":"ff-{trace}-{span}-01"}}"#),
            format!("traceparent=ff-{trace}-{span}-01"),
        ),
        (
            format!(r#"{{"traceparent":"00-{trace}-{span}-01-x"}}"#),
            format!("traceparent=00-{trace}-{span}-01-x"),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(parse, &text), Ok(expected), "{text}");
    }
}

#[test]
fn values_stay_as_they_were_written() {
    let mut record = Record::default();
    let text = r#"{"a": 1.50e+3 ,"b":[ 1, 2 ],"c":"\u00fc\/"}"#;
    parse(text, &mut record).unwrap();
    let values: Vec<_> = record.attributes.iter().map(|(_, value)| value.clone()).collect();
    let expected = ["1.50e+3", "[ 1, 2 ]", r#""\u00fc\/""#];
    assert_eq!(values, expected.map(|text| Value::Json(Cow::Borrowed(text))));
    assert!(values.iter().all(|value| matches!(value, Value::Json(Cow::Borrowed(_)))));
}

/// Go replaces them, Jackson and serde refuse the document: one line must not cost its batch.
#[test]
fn half_a_surrogate_pair_is_replaced_and_marked() {
    let cases = [
        (r#"{"a":"\ud83d\ude00"}"#, "a=😀", r#""\ud83d\ude00""#),
        (r#"{"a":"\ud83d"}"#, "a=\u{fffd} repaired", r#""\ufffd""#),
        (r#"{"a":"\ude00x"}"#, "a=\u{fffd}x repaired", r#""\ufffdx""#),
        (
            r#"{"a":["\ud83d\u0041\\ud83d"]}"#,
            r#"a=["\ufffd\u0041\\ud83d"] repaired"#,
            r#"["\ufffd\u0041\\ud83d"]"#,
        ),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, "a=\u{fffd}😀 repaired", r#""\ufffd\ud83d\ude00""#),
    ];
    for (text, expected, written) in cases {
        let mut record = Record::default();
        parse(text, &mut record).unwrap();
        assert_eq!(shown_record(&record), expected);
        assert_eq!(record.attributes[0].1, Value::Json(written.into()));
        assert!(serde_json::from_str::<serde_json::Value>(written).is_ok());
    }
}

#[test]
fn what_is_no_object_is_refused_and_leaves_the_record() {
    for text in [
        "",
        "[]",
        "1",
        "\"a\"",
        "null",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":tru}",
        "{\"a\":nul",
        "{\"a\":True}",
        "{\"a\":NaN}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":1}{\"b\":2}",
        "{\"a\" 1}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "\u{feff}{}",
    ] {
        let mut record = Record::default();
        assert!(parse(text, &mut record).is_err(), "{text}");
        assert_eq!(shown_record(&record), "", "{text}");
        assert!(serde_json::from_str::<serde_json::Map<_, _>>(text).is_err(), "{text}");
    }
}

#[test]
fn depth_and_number_of_members_are_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let depth = MAX_DEPTH as usize;
    assert!(shown(parse, &nested(depth)).is_ok());
    assert!(shown(parse, &nested(depth + 1)).is_err());
    assert!(shown(parse, &nested(1_000_000)).is_err());
    let wide = |members: usize| {
        let members: Vec<_> = (0..members).map(|n| format!("\"k{n}\":{n}")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(shown(parse, &wide(MAX_ATTRIBUTES)).is_ok());
    assert!(shown(parse, &wide(MAX_ATTRIBUTES + 1)).is_err());
}

proptest! {
    #[test]
    fn serde_json_agrees_on_what_is_valid(text in near_json()) {
        let object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
        let valid = object && serde_json::from_str::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(shown(parse, &text).is_ok(), valid, "{}", text);
    }

    #[test]
    fn strings_end_where_a_slow_reader_says(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let slow = bytes.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
        prop_assert_eq!(plain_end(&bytes, 0), slow.unwrap_or(bytes.len()));
    }

    #[test]
    fn unescaping_agrees_with_serde_json(text in "\\PC{0,20}") {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(super::text(&written), text);
    }
}

/// Texts that are JSON often, and else nearly so.
fn near_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,3}(\\.[0-9]{0,2})?(e-?[0-9]{0,2})?",
        "[a-z]{0,4}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""\u00e4\ud800""#.to_owned()),
        Just(r#""\q""#.to_owned()),
        Just("\"\t\"".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-z]{0,2}", inner), 0..4).prop_map(|items| {
                let items: Vec<_> =
                    items.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", items.join(" ,"))
            }),
        ]
    });
    let object = value.prop_map(|value| format!("{{\"k\":{value}}}"));
    // One character taken away makes most of them invalid.
    (object, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(text, at, whole)| {
        if whole {
            return text;
        }
        let at = at.index(text.chars().count());
        text.chars().enumerate().filter(|(index, _)| *index != at).map(|(_, c)| c).collect()
    })
}
