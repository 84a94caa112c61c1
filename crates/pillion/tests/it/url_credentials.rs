//! What is a credential in a URL is shown nowhere: not where it is refused, not where it is used.

use std::process::Command;

use pillion_testkit::{Origin, eventually};

use crate::{inbound_to, pillion};

const PASSWORD: &str = "hunter2";

/// Where a URL may stand in a configuration, each with a password in it that is refused.
const REFUSED: [&str; 7] = [
    "upstreams: {a: {endpoints: ['http://ann:hunter2@h:1']}}",
    "upstreams: {a: {endpoints: ['ann:hunter2@h:1']}}",
    "inbound: {listen: 'ann:hunter2@127.0.0.1:1'}",
    "logs: {sources: {a: {files: /a}}, sinks: {s: {to: 'loki://ann:hun/ter2hunter2@h'}}}",
    "logs: {sources: {a: {listen: 'http://ann:hunter2@127.0.0.1:1'}}, sinks: {s: {to: stdout}}}",
    "secrets: {server: {url: 'https://ann:hunter2@h'}, api: {listen: '127.0.0.1:1'}}",
    "secrets: {configs: {c: {http: 'https://h?token=hunter2'}}, oh: 'no'}",
];

#[test]
fn no_command_shows_a_password_that_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pillion.yaml");
    let file = file.to_str().unwrap();
    for text in REFUSED {
        std::fs::write(file, text).unwrap();
        for command in [&["check", file][..], &["check", "--json", file], &["explain", file]] {
            refuses(command, None);
        }
        refuses(&["run", "--config", file, "--", "true"], None);
    }
    let log = ["logs", "ship", "--file", "/a", "--to"];
    for to in [
        "loki://ann:hunter2@h",
        "splunk://h/?token=hunter2",
        "http://h?token=hunter2",
        "ann:hunter2@h",
        "oops://ann:hunter2@h",
    ] {
        refuses(&[&log[..], &[to]].concat(), None);
    }
    let sync = ["secrets", "sync", "--token-file", "/t", "--to", "/d", "--secret", "a#b=c"];
    for server in ["https://ann:hunter2@h", "https://h/?token=hunter2", "ann:hunter2@h"] {
        refuses(&[&sync[..], &["--server", server]].concat(), None);
    }
    let proxy = ["proxy", "--listen", "127.0.0.1:0"];
    for upstream in ["http://ann:hunter2@h", "http://ann:hun/ter2hunter2@h", "ann:hunter2@h"] {
        refuses(&[&proxy[..], &["--upstream", upstream]].concat(), None);
        refuses(&proxy, Some(upstream));
    }
    refuses(&["run", "--inbound", "http://ann:hunter2@h:1"], None);
}

fn refuses(arguments: &[&str], upstream: Option<&str>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
    let command = command.args(arguments).envs(upstream.map(|url| ("UPSTREAM_URL", url)));
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {said}");
    assert!(!said.is_empty() && !said.contains(PASSWORD), "{arguments:?}: {said}");
}

#[test]
fn a_reload_shows_no_password_that_it_refuses() {
    let origin = Origin::saying("hello");
    let pillion = pillion().config(inbound_to(origin.address())).start();
    for text in REFUSED {
        pillion.write_config(text);
        let (status, answer) = pillion.admin.post("/reload");
        assert!((400..500).contains(&status), "{status} {answer}");
        let pages = ["/config", "/config_dump", "/metrics"].map(|path| pillion.admin.get(path).1);
        for text in [&answer, &pillion.stderr.text()].into_iter().chain(&pages) {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        assert!(pages[0].contains("refused"), "{}", pages[0]);
    }
}

#[test]
fn the_query_of_a_url_that_is_used_is_shown_in_the_configuration_alone() {
    let origin = Origin::start(|mut conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    std::fs::write(&log, "a line\n").unwrap();
    let url = format!("http://{}/in?key={PASSWORD}", origin.address());
    let config = format!(
        "logs:\n  sources: {{app: {{files: {log}}}}}\n  sinks: {{web: {{to: '{url}'}}}}\n\
         secrets:\n  configs: {{c: {{http: '{url}'}}}}\n  \
         sets: {{s: {{directory: {to}, files: {{c: {{config: c}}}}}}}}\n",
        log = log.display(),
        to = folder.path().join("to").display(),
    );
    let pillion = pillion().config(config).start();
    eventually("both have failed", || {
        let pages = [pillion.admin.get("/logs").1, pillion.admin.get("/secrets").1];
        pages.iter().all(|page| page.contains("404"))
    });
    for path in ["/logs", "/secrets", "/metrics", "/ready"] {
        let (_, page) = pillion.admin.get(path);
        assert!(!page.contains(PASSWORD), "{path}: {page}");
    }
    let said = pillion.stderr.text();
    assert!(said.contains("/in?… answered 404") && !said.contains(PASSWORD), "{said}");
    assert!(pillion.admin.get("/config").1.contains(&url), "it can be read again");
}
