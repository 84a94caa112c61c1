//! Secrets that Pillion delivered and the app prints: in no sink, no buffer, no dead letter, and not
//! on the terminal.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pillion_testkit::{ClosedPort, Origin, Pillion, Signal, eventually};
use serde_json::json;

use super::{records, text};
use crate::pillion;
use crate::secrets::bed::Bed;

/// Short, and with what JSON, URLs and shells write in another way.
const SECRET: &str = "s3\"cr\\ä/t&?";
const NEXT: &str = "n3xt-one'<>+=";

/// An app that prints what it is told to, in two writes, the second after the first was read. FIONREAD
/// tells what of the pipe nobody has read.
const APP: &str = r#"
import base64, fcntl, json, os, struct, sys, termios, time, urllib.parse
file, told = sys.argv[1:]
def read(fd):
    while struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"    "))[0]:
        time.sleep(0.001)
def show(fd, before, secret, after):
    for at in range(len(secret) + 1):
        os.write(fd, before + secret[:at])
        read(fd)
        os.write(fd, secret[at:] + after + b"\n")
        read(fd)
def forms(secret):
    yield secret
    yield json.dumps(secret.decode())[1:-1].encode()
    yield json.dumps(secret.decode(), ensure_ascii=False)[1:-1].encode()
    yield base64.b64encode(secret)
    yield urllib.parse.quote(secret, safe="").encode()
def current():
    return open(file, "rb").read()
first = current()
os.write(1, b"at once " + first + b" end\n")
for fd in 1, 2:
    for form in forms(first):
        show(fd, b"before ", form, b" after")
while current() == first:
    time.sleep(0.005)
for secret in first, current():
    for form in forms(secret):
        show(1, b"rotated ", form, b" after")
open(told, "w")
time.sleep(1000)
"#;

/// Every form of the secrets that the app prints, and that must be nowhere.
fn forbidden() -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for secret in [SECRET, NEXT] {
        let json = serde_json::to_string(secret).unwrap();
        forms.push(secret.as_bytes().to_vec());
        forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
        // In JSON that stands in JSON, as a sink would write a line of it.
        let twice = serde_json::to_string(&json[1..json.len() - 1]).unwrap();
        forms.push(twice.as_bytes()[1..twice.len() - 1].to_vec());
        forms.push(STANDARD.encode(secret).trim_end_matches('=').as_bytes().to_vec());
    }
    // As URLs have it.
    forms.push(b"s3%22cr%5C%C3%A4%2Ft%26%3F".to_vec());
    forms.push(b"n3xt-one%27%3C%3E%2B%3D".to_vec());
    // What would be left of it if one of two parts was taken for something else.
    forms.push("cr\\ä/t".as_bytes().to_vec());
    forms.push(b"xt-one".to_vec());
    forms
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn assert_clean(place: &str, text: &[u8]) {
    for form in forbidden() {
        let form_text = String::from_utf8_lossy(&form);
        assert!(!contains(text, &form), "{form_text:?} is in {place}");
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut all): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    all.extend(folders.iter().flat_map(|folder| files(folder)));
    all
}

/// Three sinks: one that takes, one that is away and one that refuses.
fn config(bed: &Bed, away: &ClosedPort, refusing: &Origin) -> String {
    let (to, state, sink) = (bed.path("to"), bed.path("state"), bed.path("sink.json"));
    let batch = "batch: {wait: 10ms}";
    format!(
        "drain: {{timeout: 1s}}\nsecrets:\n  {}\n  secrets: {{db: {{path: secret/db, interval: \
         100ms}}}}\n  sets: {{files: {{directory: {}, files: {{pw: {{secret: db, key: \
         password}}}}}}}}\nlogs:\n  state: {}\n  sources: {{app: {{app: both, terminal: \
         redacted}}}}\n  sinks:\n    takes: {{to: \"file:{}\", {batch}}}\n    away: {{to: \
         \"http://{}/\", {batch}}}\n    refuses: {{to: \"http://{}/\", {batch}}}\n",
        bed.server(),
        text(&to),
        text(&state),
        text(&sink),
        away.address(),
        refusing.address(),
    )
}

fn start(bed: &Bed, config: String) -> Pillion {
    let app = bed.path("app.py");
    fs::write(&app, APP).unwrap();
    let (file, told) = (bed.path("to/pw"), bed.path("told"));
    let command = ["python3", text(&app), text(&file), text(&told)];
    pillion().arg("--inbound").arg("off").config(config).app(command).start()
}

#[test]
fn a_delivered_secret_never_leaves_in_any_form_whole_or_in_two_parts() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": SECRET}));
    let away = ClosedPort::new();
    let refusing = Origin::answering(|_, _| {
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno".to_vec()
    });
    let mut pillion = start(&bed, config(&bed, &away, &refusing));
    let sink = bed.path("sink.json");
    let count = |begin: &str| {
        let of = |record: &serde_json::Value| record["body"].as_str().unwrap().starts_with(begin);
        records(&sink).iter().filter(|record| of(record)).count()
    };
    // A write for each place at which a form can be cut, its two ends included.
    let lengths = |secret: &str, url: &str| {
        let ascii: usize = secret.encode_utf16().map(|unit| if unit < 128 { 1 } else { 6 }).sum();
        let escapes = secret.matches(['"', '\\']).count();
        let base64 = STANDARD.encode(secret).len();
        (secret.len() + 1)
            + (ascii + escapes + 1)
            + (secret.len() + escapes + 1)
            + (base64 + 1)
            + (url.len() + 1)
    };
    let first = lengths(SECRET, "s3%22cr%5C%C3%A4%2Ft%26%3F");
    eventually("the first secret was printed", || count("before ") == 2 * first);
    bed.bao.put_secret("db", &json!({"password": NEXT}));
    let both = first + lengths(NEXT, "n3xt-one%27%3C%3E%2B%3D");
    eventually("both secrets were printed", || bed.path("told").exists());
    eventually("both secrets were shipped", || count("rotated ") == both);
    let all = records(&sink);
    assert_eq!(all[0]["body"], "at once [REDACTED] end");
    for record in &all {
        let body = record["body"].as_str().unwrap();
        assert!(
            ["before [REDACTED", "rotated [REDACTED", "at once [REDACTED"]
                .iter()
                .any(|begin| body.starts_with(begin)),
            "{body}"
        );
    }
    assert_clean("the sink", &fs::read(&sink).unwrap());
    pillion.signal(Signal::SIGTERM);
    let ended = pillion.wait();
    assert!(ended.stdout.contains("rotated [REDACTED]"), "{}", ended.stdout);
    assert_clean("standard output", ended.stdout.as_bytes());
    assert_clean("standard error", ended.stderr.as_bytes());
    let kept = files(&bed.path("state"));
    let of = |name: &str| {
        let paths = kept.iter().filter(|path| text(path).contains(name));
        paths.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>().concat()
    };
    // Both had them, so that it means something that the secrets are not there.
    for (name, place) in [("buffer/away", "the disk buffer"), ("dead/refuses", "dead letters")] {
        assert!(contains(&of(name), b"rotated [REDACTED"), "nothing in {place}: {kept:?}");
    }
    for path in &kept {
        assert_clean(text(path), &fs::read(path).unwrap());
    }
}
