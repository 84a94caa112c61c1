//! `pillion secrets sync`.

use std::process::{Command, Output};

use pillion_testkit::{Peer, Signal, eventually, peak_memory_kib, resident_memory_kib};
use serde_json::json;

use super::bed::Bed;

fn sync(bed: &Bed, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
    command.args(["secrets", "sync", "--server", &bed.bao.url(), "--token-file"]);
    command.arg(bed.path("token")).arg("--to").arg(bed.path("to")).args(arguments);
    command
}

fn once(bed: &Bed, arguments: &[&str]) -> Output {
    sync(bed, arguments).arg("--once").output().unwrap()
}

#[test]
fn once_delivers_files_together_and_ends_with_0() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "s3cr3t-one", "user": "app"}));
    std::fs::write(bed.path("url.j2"), "{{ secret(\"secret/db\").user }}@db").unwrap();
    let template = format!("{}=url", bed.path("url.j2").display());
    let told = format!("cat pw > {}", bed.path("told").display());
    let arguments =
        ["--secret", "secret/db#password=pw", "--secret", "secret/db=all.json", "--template"];
    let output = once(&bed, &[&arguments[..], &[&template, "--exec", &told]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.read("to/pw"), "s3cr3t-one");
    assert_eq!(bed.read("to/url"), "app@db");
    assert_eq!(bed.read("told"), "s3cr3t-one", "the command sees the new files");
    let all: serde_json::Value = serde_json::from_str(&bed.read("to/all.json")).unwrap();
    assert_eq!(all, json!({"password": "s3cr3t-one", "user": "app"}));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("s3cr3t-one") && output.stdout.is_empty(), "{said}");
    // Again: nothing is new, so nobody is told.
    std::fs::remove_file(bed.path("told")).unwrap();
    let again = once(&bed, &[&arguments[..], &[&template, "--exec", &told]].concat());
    assert!(again.status.success(), "{again:?}");
    assert_eq!(bed.read("told"), "");
}

#[test]
fn once_says_plainly_what_could_not_be_delivered() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "s3cr3t-one"}));
    let broken = bed.path("broken.ctmpl");
    std::fs::write(&broken, "{{ with secret }}").unwrap();
    let broken = format!("{}=x", broken.display());
    let table: [(&[&str], &str); 5] = [
        (&["--secret", "secret/nope#a=b"], "nothing at this path"),
        (&["--secret", "secret/db#nope=b"], "has no key nope; it has password"),
        (&["--template", &broken], "broken.ctmpl:1"),
        (&["--secret", "secret/db#password=../x"], "cannot be the name of a file"),
        (
            &["--secret", "secret/db#password=pw", "--exec", "echo s3cr3t-one; exit 3"],
            "ended with code 3; it said: [secret]",
        ),
    ];
    for (arguments, expected) in table {
        let output = once(&bed, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("pillion: error: ") && last.contains(expected), "{said}");
        assert!(!said.contains("s3cr3t-one"), "{said}");
    }
    let nothing = once(&bed, &[]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_change_is_delivered_and_one_that_the_app_refuses_is_taken_back() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "one"}));
    // The app refuses what begins with `bad`.
    let tell = format!("cat pw >> {0}; ! grep -q ^bad pw", bed.path("told").display());
    let arguments = ["--secret", "secret/db#password=pw", "--interval", "100ms", "--exec", &tell];
    let mut peer = Peer::spawn(sync(&bed, &arguments));
    eventually("the first delivery", || bed.read("to/pw") == "one");
    bed.bao.put_secret("db", &json!({"password": "two"}));
    eventually("the second delivery", || bed.read("to/pw") == "two");
    bed.bao.put_secret("db", &json!({"password": "bad"}));
    eventually("the refusal", || peer.stderr.text().contains("\"outcome\":\"returned\""));
    assert_eq!(bed.read("to/pw"), "two");
    assert!(bed.read("told").ends_with("badtwo"), "it is told of the way back too");
    bed.bao.put_secret("db", &json!({"password": "three"}));
    eventually("the third delivery", || bed.read("to/pw") == "three");
    peer.end(Signal::SIGTERM);
    assert_eq!(peer.ended().unwrap().code(), Some(0), "it ends in order");
    assert_eq!(bed.read("to/pw"), "three", "files stay");
}

#[test]
fn code_that_nobody_needs_at_rest_leaves_memory_after_each_delivery() {
    let bed = Bed::new();
    let peer = Peer::spawn(sync(&bed, &["--secret", "secret/db#password=pw", "--interval", "2s"]));
    let pid = peer.pid();
    for value in ["one", "two"] {
        bed.bao.put_secret("db", &json!({"password": value}));
        eventually(("delivered", value), || bed.read("to/pw") == value);
        eventually("half of the memory", || resident_memory_kib(pid) * 2 < peak_memory_kib(pid));
    }
}
