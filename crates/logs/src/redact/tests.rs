//! What must not leave does not, whatever stands around it.

use proptest::prelude::*;

use super::forms::SHORTEST;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn redact() -> Redact {
    Redact { delivered: true, keys: Vec::new(), patterns: Vec::new(), cards: false }
}

fn delivered<S: AsRef<str>>(secrets: &[S]) -> Delivered {
    let delivered = Delivered::default();
    delivered.replace("test", secrets.iter().map(|secret| secret.as_ref().into()).collect());
    delivered
}

fn redactor<S: AsRef<str>>(secrets: &[S]) -> Redactor {
    Redactor::new(&redact(), &delivered(secrets)).unwrap()
}

fn text(redactor: &Redactor, text: &str) -> String {
    redactor.text(Cow::Borrowed(text)).0.into_owned()
}

#[test]
fn a_delivered_secret_is_not_in_a_line_whatever_its_form() {
    let redactor = redactor(&["hunter2", "p\"q/r s", "-----BEGIN K-----\nMIIEvQIBADAN\n"]);
    for (line, expected) in [
        ("nothing here", "nothing here"),
        ("hunter2", "[REDACTED]"),
        ("a hunter2hunter2 b", "a [REDACTED][REDACTED] b"),
        ("https://u:p%22q%2Fr%20s@db/", "https://u:[REDACTED]@db/"),
        (r#"{"p":"p\"q/r s"}"#, r#"{"p":"[REDACTED]"}"#),
        (r#"{"m":"{\"p\":\"p\\\"q/r s\"}"}"#, r#"{"m":"{\"p\":\"[REDACTED]\"}"}"#),
        ("MIIEvQIBADAN", "[REDACTED]"),
    ] {
        let (redacted, found) = redactor.text(Cow::Borrowed(line));
        assert_eq!((&*redacted, found), (expected, line != expected));
        assert_eq!(matches!(redacted, Cow::Borrowed(_)), line == expected);
    }
}

#[test]
fn a_secret_is_found_at_every_place_whatever_its_length() {
    for length in SHORTEST..20 {
        let secret = &"4bcdefgh1jklmn0pqrst"[..length];
        let redactor = redactor(&[secret]);
        for (before, after) in (0..20).flat_map(|before| (0..5).map(move |after| (before, after))) {
            let [before, after] = [before, after].map(|count| "x".repeat(count));
            let expected = format!("{before}[REDACTED]{after}");
            assert_eq!(text(&redactor, &format!("{before}{secret}{after}")), expected);
            let part = format!("{before}{}{after}", &secret[1..]);
            assert_eq!(text(&redactor, &part), part);
        }
    }
}

#[test]
fn of_secrets_that_overlap_nothing_is_left() {
    let redactor = redactor(&["abcdefgh", "fghijklm", "abcd"]);
    assert_eq!(text(&redactor, "xabcdefghijklmy"), "x[REDACTED]y");
    assert_eq!(text(&redactor, "abcdx"), "[REDACTED]x");
}

#[test]
fn json_stays_json_whatever_the_secret_cuts() {
    for (secret, line, expected) in [
        ("12345678", r#"{"pin":12345678}"#, r#"{"pin":"[REDACTED]"}"#),
        ("2345", r#"{"pin":12345678,"a":-2345e1}"#, r#"{"pin":"[REDACTED]","a":"[REDACTED]"}"#),
        ("nabcdefg", r#"{"m":"x\nabcdefg"}"#, r#"{"m":"x[REDACTED]"}"#),
        ("0041bcde", r#"{"m":"\u0041bcde\u0041"}"#, r#"{"m":"[REDACTED]\u0041"}"#),
        ("abcd\\", r#"{"m":"abcd\"e"}"#, r#"{"m":"[REDACTED]e"}"#),
        ("abcd\\u00", r#"["abcd\u00e4e"]"#, r#"["[REDACTED]e"]"#),
        ("\"quoted\"", r#"{"quoted":"quoted"}"#, r#"{"[REDACTED]":"[REDACTED]"}"#),
        ("secretkey", r#"{"secretkey":1}"#, r#"{"[REDACTED]":1}"#),
        (r#"{"user":"x","password":"y"}"#, r#"{"a":{"user":"x","password":"y"}}"#, QUOTED),
        ("{12345}", "{12345}", "[REDACTED]"),
    ] {
        assert_eq!(text(&redactor(&[secret]), line), expected, "{secret}");
    }
}

#[test]
fn what_is_delivered_later_is_known_from_the_next_look_on() {
    let delivered = delivered(&["first-secret"]);
    let mut redactor = Redactor::new(&redact(), &delivered).unwrap();
    delivered.replace("test", vec!["second-secret".into()]);
    assert_eq!(text(&redactor, "first-secret second-secret"), "[REDACTED] second-secret");
    redactor.refresh();
    assert_eq!(text(&redactor, "first-secret second-secret"), "first-secret [REDACTED]");
    drop(delivered);
    redactor.refresh();
    assert_eq!(text(&redactor, "second-secret"), "[REDACTED]");
}

#[test]
fn delivered_secrets_are_left_only_where_that_is_asked_for() {
    let off = Redact { delivered: false, ..redact() };
    let redactor = Redactor::new(&off, &delivered(&["hunter2"])).unwrap();
    assert_eq!(text(&redactor, "hunter2"), "hunter2");
}

#[test]
fn a_secret_is_not_in_debug_output() {
    assert!(!format!("{:?}", redactor(&["hunter2"])).contains("hunter2"));
}

#[test]
fn patterns_and_cards_are_made_unreadable_too() {
    let redact =
        Redact { patterns: vec!["tok_[a-z]+".into(), "x*".into()], cards: true, ..redact() };
    let redactor = Redactor::new(&redact, &delivered(&["hunter2"])).unwrap();
    let line = "tok_abc 4111 1111 1111 1111 hunter2 é xx";
    assert_eq!(text(&redactor, line), "[REDACTED] [REDACTED] [REDACTED] é [REDACTED]");
    assert_eq!(text(&redactor, r#"{"n":4111111111111111}"#), r#"{"n":"[REDACTED]"}"#);
    let bad = Redact { patterns: vec!["(".into()], ..redact };
    Redactor::new(&bad, &Delivered::default()).unwrap_err();
}

#[test]
fn values_behind_telling_names_are_made_unreadable_at_any_depth() {
    let redact = Redact { keys: vec!["Password".into(), "auth.token".into()], ..redact() };
    let redactor = Redactor::new(&redact, &Delivered::default()).unwrap();
    let json = |text: &'static str| Value::Json(Cow::Borrowed(text));
    let mut record = Record {
        body: json(r#"[{"PASSWORD" : {"a":[1]}, "b":1}]"#),
        attributes: [
            ("password", json("1")),
            ("db.password", json("\"x\"")),
            ("Auth.Token", Value::Text("t".into())),
            ("deep", json(r#"{"a":{"pass\u0077ord":"x","passwords":1},"b":[{"password":null}]}"#)),
            ("passwords", json(r#"{"user":"password"}"#)),
        ]
        .map(|(name, value)| (Cow::Borrowed(name), value))
        .into_iter()
        .collect(),
        ..Record::default()
    };
    redactor.attributes(&mut record);
    assert_eq!(record.body, json(r#"[{"PASSWORD" : "[REDACTED]", "b":1}]"#));
    let values: Vec<Value<'_>> = record.attributes.iter().map(|(_, value)| value.clone()).collect();
    let hidden = || Value::Text(Cow::Borrowed(REDACTED));
    let deep = json(
        r#"{"a":{"pass\u0077ord":"[REDACTED]","passwords":1},"b":[{"password":"[REDACTED]"}]}"#,
    );
    assert_eq!(values, [hidden(), hidden(), hidden(), deep, json(r#"{"user":"password"}"#)]);
    assert!(record.marks.redacted);
    let mut clean = Record::default();
    redactor.attributes(&mut clean);
    assert!(!clean.marks.redacted);
}

#[test]
fn a_secret_that_could_have_become_a_longer_one_is_hidden_at_the_end_too() {
    let redactor = redactor(&["accba".to_owned(), "accb".to_owned()]);
    assert_eq!(shown(&redactor, &["a", "c", "c", "b"]).concat(), REDACTED);
}

/// Writes the pieces one after another; what is shown after each.
fn shown(redactor: &Redactor, pieces: &[&str]) -> Vec<String> {
    let mut stream = Unfinished::default();
    let mut shown = Vec::new();
    for piece in pieces {
        let mut out = Vec::new();
        stream.push(redactor, piece.as_bytes(), &mut out);
        shown.push(String::from_utf8(out).unwrap());
    }
    let mut out = Vec::new();
    stream.finish(redactor, &mut out);
    shown.push(String::from_utf8(out).unwrap());
    shown
}

#[test]
fn a_secret_split_across_writes_is_never_shown() {
    let redactor = redactor(&["hunter2", "aaaa"]);
    for (pieces, expected) in [
        (vec!["a line\n"], vec!["a line\n", ""]),
        (vec!["pw hun", "ter2\n"], vec!["pw ", "[REDACTED]\n", ""]),
        (vec!["pw hun", "dred\n"], vec!["pw ", "hundred\n", ""]),
        (vec!["pw hun"], vec!["pw ", "hun"]),
        (vec!["h", "u", "nter", "2", "x"], vec!["", "", "", "[REDACTED]", "x", ""]),
        (vec!["xaaaaa", "a", "b"], vec!["x[REDACTED]", "[REDACTED]", "b", ""]),
    ] {
        assert_eq!(shown(&redactor, &pieces), expected, "{pieces:?}");
    }
}

#[test]
fn a_prompt_does_not_lack_its_end_for_long_and_a_secret_still_does() {
    let redactor = redactor(&["hunter2"]);
    let (mut stream, mut out) = (Unfinished::default(), Vec::new());
    stream.push(&redactor, b"Go on, eh", &mut out);
    assert_eq!(out, b"Go on, e");
    stream.release(&mut out);
    assert_eq!(out, b"Go on, eh");
    stream.push(&redactor, b"unter", &mut out);
    stream.release(&mut out);
    stream.push(&redactor, b"2, then\n", &mut out);
    assert_eq!(out, b"Go on, eh[REDACTED], then\n");
}

/// Texts in which much of what is special stands.
const NASTY: &str = r#"[ab12\\"/ \n%ä{}:,\[\]-]{0,12}"#;
const SECRET: &str = r#"[ab12\\"/&%ä-]{4,10}"#;

proptest! {
    #[test]
    fn a_secret_never_survives(before in NASTY, after in NASTY, secrets in prop::collection::vec(SECRET, 1..6)) {
        let redactor = redactor(&secrets);
        for secret in secrets.iter().filter(|secret| secret.trim().len() >= 4) {
            let whole = format!("{before}{secret}{after}");
            prop_assert!(!text(&redactor, &whole).contains(secret));
            let json = serde_json::json!({ "m": whole, "n": [{ (whole.clone()): 1 }] }).to_string();
            let redacted: serde_json::Value = serde_json::from_str(&text(&redactor, &json)).unwrap();
            if let Some(message) = redacted.get("m") {
                prop_assert!(!message.as_str().unwrap().contains(secret), "{}", redacted);
            }
            if secret.len() >= 8 {
                let encoded = STANDARD.encode(&whole);
                prop_assert!(text(&redactor, &encoded).contains(REDACTED), "{}", encoded);
            }
        }
    }

    #[test]
    fn json_stays_json(value in "[0-9]{1,12}", name in NASTY, message in NASTY, secrets in prop::collection::vec(SECRET, 1..6)) {
        let number: u64 = value.parse().unwrap();
        let json = serde_json::json!({ name: [number, { "m": message, "t": true }] }).to_string();
        let redact = Redact { cards: true, patterns: vec!["[0-9]+:".into()], ..redact() };
        let redactor = Redactor::new(&redact, &delivered(&secrets)).unwrap();
        let redacted = text(&redactor, &json);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{}", redacted);
    }

    #[test]
    fn whatever_the_writes_the_stream_shows_no_secret_and_all_else(
        pieces in prop::collection::vec("[abc]{0,6}", 0..12),
        secrets in prop::collection::vec("[abc]{4,6}", 1..4),
    ) {
        let redactor = redactor(&secrets);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let shown = shown(&redactor, &pieces).concat();
        for secret in &secrets {
            prop_assert!(!shown.contains(secret), "{} in {}", secret, shown);
        }
        let whole = text(&redactor, &pieces.concat());
        let parts = |text: &str| -> Vec<String> {
            text.split(REDACTED).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        prop_assert_eq!(parts(&shown), parts(&whole));
    }
}
