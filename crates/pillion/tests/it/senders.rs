//! Programs of others that send logs to us: what they sent is compared line by line.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use pillion_testkit::{
    Collector, Otlp, Pillion, Rsyslog, eventually, eventually_some, free_address, python, tool,
};
use serde_json::Value;

use crate::{peer, pillion};

/// Lines as they are in the world, none of them empty.
fn lines() -> Vec<String> {
    let mut lines: Vec<String> = (0..20).map(|number| format!("request {number} done")).collect();
    lines.extend(
        [
            "a \"quoted\" back\\slash and a tab\tinside",
            "grüß 🦀 中文",
            "{\"json\": [1, 2]}",
            "</script> & ]]> ' %s $1",
            "looks like a tag: and [brackets] <13>1 - -",
            "ends with a backslash\\",
        ]
        .map(str::to_owned),
    );
    lines.push("long ".repeat(400).trim_end().to_owned());
    lines
}

/// A Pillion that takes logs in every way, and keeps what came in a file.
struct Receiver {
    pillion: Pillion,
    tcp: SocketAddr,
    udp: SocketAddr,
    otlp: SocketAddr,
    sink: PathBuf,
}

impl Receiver {
    fn start() -> Self {
        let builder = pillion();
        let sink = builder.folder().join("sink.json");
        let (tcp, udp, otlp) = (free_address(), free_address(), free_address());
        let socket = builder.folder().join("log.sock");
        let config = format!(
            "logs:\n  sources:\n    tcp: {{listen: 'syslog+tcp://{tcp}', parse: syslog}}\n    \
             udp: {{listen: 'syslog+udp://{udp}', parse: syslog}}\n    \
             unix: {{listen: 'syslog+udp:{}', parse: syslog}}\n    otlp: {{listen: 'otlp://{otlp}'}}\n  \
             sinks: {{file: {{to: 'file:{}', batch: {{wait: 10ms}}}}}}\n",
            socket.display(),
            sink.display(),
        );
        let pillion = builder.config(config).start();
        let receiver = Self { pillion, tcp, udp, otlp, sink };
        // They are opened in the order of their names, so that this is the last.
        eventually("every source listens", || {
            UnixDatagram::unbound().unwrap().connect(receiver.socket()).is_ok()
        });
        receiver
    }

    fn socket(&self) -> PathBuf {
        self.pillion.folder().join("log.sock")
    }

    /// The records that came after so many, once they are as many.
    fn records(&self, what: &str, already: usize, count: usize) -> Vec<Value> {
        eventually_some(what, || {
            let text = fs::read_to_string(&self.sink).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let records =
                whole.lines().skip(already).map(|line| serde_json::from_str(line).unwrap());
            let records: Vec<Value> = records.collect();
            (records.len() >= count).then_some(records)
        })
    }
}

fn bodies(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["body"].as_str().unwrap()).collect()
}

fn write_lines(folder: &Path) -> PathBuf {
    let file = folder.join("lines");
    fs::write(&file, lines().join("\n") + "\n").unwrap();
    file
}

/// Runs a client to its end.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rsyslog_forwards_every_message_by_each_transport_framing_and_format() {
    let receiver = Receiver::start();
    let forward = |protocol: &str, to: SocketAddr, further: &str| {
        let (host, port) = (to.ip(), to.port());
        format!(
            "action(type=\"omfwd\" target=\"{host}\" port=\"{port}\" protocol=\"{protocol}\" \
             template=\"FORMAT\" {further})"
        )
    };
    let udp = forward("udp", receiver.udp, "");
    let tcp_by_line = forward("tcp", receiver.tcp, "");
    let tcp_by_count = forward("tcp", receiver.tcp, "TCP_Framing=\"octet-counted\"");
    // It has the old language alone.
    let unix = format!(
        "$ModLoad omuxsock\n$OMUxSockSocket {}\n*.* :omuxsock:;FORMAT",
        receiver.socket().display()
    );
    // In a message that came to it in the old format the space behind the tag is a part of the message
    // for rsyslog; in the new format it says so.
    let formats = [
        ("RSYSLOG_SyslogProtocol23Format", " "),
        ("RSYSLOG_ForwardFormat", ""),
        ("RSYSLOG_TraditionalForwardFormat", ""),
    ];
    let lines = lines();
    let mut already = 0;
    for (source, action) in
        [("udp", udp), ("tcp", tcp_by_line), ("tcp", tcp_by_count), ("unix", unix)]
    {
        for (format, before) in formats {
            let what = format!("{action} {format}");
            let rules = |_: &Path| {
                let action = action.replace("FORMAT", format);
                format!("global(parser.escapeControlCharactersOnReceive=\"off\")\n{action}")
            };
            let sender = Rsyslog::start(rules);
            let file = write_lines(sender.folder());
            run(Command::new(tool("logger"))
                .args(["--tag", "shop", "--priority", "local3.warning", "--size", "8192"])
                .arg("--socket")
                .arg(sender.socket())
                .arg("--file")
                .arg(file));
            let records = receiver.records(&what, already, lines.len());
            already += records.len();
            let expected: Vec<_> = lines.iter().map(|line| format!("{before}{line}")).collect();
            assert_eq!(bodies(&records), expected, "{what}");
            for record in &records {
                let facts = (&record["source"], &record["attributes"]["syslog.appname"]);
                assert_eq!(facts, (&source.into(), &"shop".into()), "{what}");
                assert_eq!(record["severity_number"], 13, "{what}");
                assert_eq!(record["attributes"]["syslog.facility"], 19, "{what}");
                assert_eq!(record["marks"], Value::Null, "{what}: {record}");
            }
        }
    }
}

#[test]
fn logger_sends_every_line_in_each_of_its_forms() {
    let receiver = Receiver::start();
    let file = write_lines(receiver.pillion.folder());
    let network = |how: &str, to: SocketAddr| {
        let (host, port) = (to.ip().to_string(), to.port().to_string());
        [how, "--server", &host, "--port", &port].map(str::to_owned).to_vec()
    };
    let socket = vec!["--socket".to_owned(), receiver.socket().display().to_string()];
    let tcp = network("--tcp", receiver.tcp);
    let counted = [tcp.clone(), vec!["--octet-count".to_owned()]].concat();
    let lines = lines();
    let mut already = 0;
    for way in [tcp, counted, network("--udp", receiver.udp), socket] {
        for form in [
            &["--rfc3164"][..],
            &["--rfc5424"],
            &["--rfc5424=notime,nohost"],
            &["--rfc5424", "--msgid", "ID7", "--sd-id", "ours@1", "--sd-param", "a=\"b\""],
        ] {
            let what = format!("{way:?} {form:?}");
            run(Command::new(tool("logger"))
                .args(["--tag", "shop", "--id=42", "--size", "8192", "--priority", "user.err"])
                .args(form)
                .args(&way)
                .arg("--file")
                .arg(&file));
            let records = receiver.records(&what, already, lines.len());
            already += records.len();
            assert_eq!(bodies(&records), lines, "{what}");
            let attributes = &records[0]["attributes"];
            assert_eq!(attributes["syslog.appname"], "shop", "{what}");
            assert_eq!(attributes["syslog.procid"], "42", "{what}");
            assert_eq!(records[0]["severity_number"], 17, "{what}");
            if form.len() > 1 {
                assert_eq!(attributes["syslog.msgid"], "ID7", "{what}");
                assert_eq!(attributes["syslog.ours@1.a"], "b", "{what}");
            }
        }
    }
}

#[test]
fn opentelemetrys_own_client_is_understood_over_http_and_grpc() {
    let receiver = Receiver::start();
    let file = write_lines(receiver.pillion.folder());
    let lines = lines();
    let mut already = 0;
    for transport in ["http", "grpc"] {
        for compression in ["none", "gzip"] {
            let what = format!("{transport} {compression}");
            let endpoint = receiver.otlp.to_string();
            run(Command::new(python())
                .arg(peer("otlp_sender.py"))
                .args([transport, &endpoint, compression])
                .arg(&file));
            let records = receiver.records(&what, already, lines.len());
            already += records.len();
            assert_eq!(bodies(&records), lines, "{what}");
            for (number, record) in records.iter().enumerate() {
                let attributes = &record["attributes"];
                assert_eq!(attributes["number"], number, "{what}: {record}");
                let nested = serde_json::json!({"list": [1, "two", 3.5, true]});
                assert_eq!(attributes["nested"], nested, "{what}");
                let severity = (&record["severity"], &record["severity_number"]);
                assert_eq!(severity, (&"Warn".into(), &13.into()), "{what}");
                let time = format!("2023-11-14T22:13:20.{number:09}Z");
                assert_eq!(record["time"], time, "{what}");
            }
        }
    }
}

/// The whole way: lines of a file by the forward protocol to a collector, from there by OTLP to us.
#[test]
fn the_collector_sends_on_what_it_got_over_http_and_grpc() {
    let receiver = Receiver::start();
    let file = write_lines(receiver.pillion.folder());
    let lines = lines();
    let mut already = 0;
    for how in [Otlp::Http, Otlp::Grpc] {
        let collector = Collector::sending_to(receiver.otlp, how);
        let to = format!("forward://{}", collector.forward());
        run(Command::new(env!("CARGO_BIN_EXE_pillion"))
            .args(["logs", "ship", "--once", "--to", &to, "--file"])
            .arg(&file));
        let records = receiver.records(&format!("{how:?}"), already, lines.len());
        already += records.len();
        assert_eq!(bodies(&records), lines, "{how:?}");
        let attributes = &records[0]["attributes"];
        assert_eq!(attributes["fluent.tag"], "pillion.files", "{how:?}");
        assert_eq!(attributes["source"], "files", "{how:?}");
    }
}
