//! The access log from outside: lines, bounds, rotation, slow readers.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pillion_model::Reason;
use pillion_model::snapshot::{Direction, LogField, LogFormat, LogPart};
use proptest::prelude::*;

use super::batch::Batch;
use super::format::Formatter;
use super::output::Output;
use super::{AccessLog, Protocol, Record};
use crate::metrics::Registry;

const LONG: Duration = Duration::from_secs(30);

pub(super) fn record() -> Record<'static> {
    Record {
        start_unix_us: 1_709_210_096_789_012,
        direction: Direction::Inbound,
        protocol: Protocol::Http11,
        status: 502,
        attempts: 2,
        reason: Some(Reason::UpstreamClosed),
        method: b"GET",
        authority: b"shop.example:8080",
        path: b"/cart?id=7",
        route: "cart",
        upstream: "app",
        endpoint: "127.0.0.1:8080",
        downstream: Some(SocketAddr::from(([192, 0, 2, 1], 50_000))),
        request_bytes: 0,
        response_bytes: 1234,
        duration_us: 12_345,
        upstream_us: 12_004,
        pillion_us: 341,
        request_id: b"5b8e",
        trace_id: *b"4bf92f3577b34da6a3ce929d0e0e4736",
        user_agent: b"curl/8.0",
    }
}

fn formatted(format: &LogFormat, record: &Record<'_>) -> String {
    let mut batch = Batch::default();
    batch.push(record);
    let mut out = Vec::new();
    let mut formatter = Formatter::new(format.clone());
    batch.lines().for_each(|line| formatter.push_line(&line, &mut out));
    String::from_utf8(out).unwrap()
}

/// A log on a pipe, as standard output often is one.
fn on_a_pipe(registry: &Registry) -> (AccessLog, BufReader<PipeReader>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let output = Output::stream(File::from(OwnedFd::from(writer)));
    let log = AccessLog::spawn(output, LogFormat::Json, registry).unwrap();
    (log, BufReader::new(reader))
}

fn metric(registry: &Registry, name: &str) -> u64 {
    let text = registry.render();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or("0").parse().unwrap()
}

#[test]
fn a_json_line_has_every_field_in_its_order() {
    let expected = concat!(
        r#"{"time":"2024-02-29T12:34:56.789Z","direction":"inbound","method":"GET","#,
        r#""authority":"shop.example:8080","path":"/cart?id=7","protocol":"HTTP/1.1","#,
        r#""status":502,"reason":"upstream_closed","route":"cart","upstream":"app","#,
        r#""endpoint":"127.0.0.1:8080","downstream":"192.0.2.1:50000","request_bytes":0,"#,
        r#""response_bytes":1234,"duration_ms":12.345,"upstream_ms":12.004,"pillion_us":341,"#,
        r#""attempts":2,"request_id":"5b8e","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
        r#""user_agent":"curl/8.0"}"#,
        "\n"
    );
    assert_eq!(formatted(&LogFormat::Json, &record()), expected);
}

#[test]
fn a_json_line_has_the_fields_of_the_list_and_no_other() {
    let json = formatted(&LogFormat::Json, &record());
    let mut rest = json.as_str();
    for (field, name, _) in LogField::ALL {
        let key = format!("\"{name}\":");
        (_, rest) = rest.split_once(&key).unwrap_or_else(|| panic!("{field:?} after {json}"));
    }
    let object: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap();
    assert_eq!(object.len(), LogField::ALL.len());
}

#[test]
fn fields_without_a_value_are_null_in_json_and_a_dash_in_templates() {
    let bare = Record {
        protocol: Protocol::Tcp,
        reason: None,
        method: b"",
        downstream: None,
        trace_id: [0; 32],
        ..record()
    };
    let json: serde_json::Value =
        serde_json::from_str(&formatted(&LogFormat::Json, &bare)).unwrap();
    let fields = [LogField::Reason, LogField::Method, LogField::Downstream, LogField::TraceId];
    for field in fields {
        assert!(json[field.name()].is_null(), "{field:?}");
        let template = LogFormat::Template(vec![LogPart::Field(field)]);
        assert_eq!(formatted(&template, &bare), "-\n");
    }
}

#[test]
fn a_template_is_text_and_fields_in_turn_and_cannot_be_broken_out_of() {
    let format = LogFormat::Template(vec![
        LogPart::Field(LogField::Downstream),
        LogPart::Text(" \"".into()),
        LogPart::Field(LogField::Path),
        LogPart::Text("\" ".into()),
        LogPart::Field(LogField::DurationMs),
    ]);
    let line = |path| formatted(&format, &Record { path, ..record() });
    assert_eq!(line(b"/a"), "192.0.2.1:50000 \"/a\" 12.345\n");
    assert_eq!(line(b"/a\" 200\r\nfake"), "192.0.2.1:50000 \"/a\\\" 200\\r\\nfake\" 12.345\n");
}

#[test]
fn ipv6_clients_are_written_with_brackets() {
    let downstream = Some("[2001:db8::1]:443".parse().unwrap());
    let format = LogFormat::Template(vec![LogPart::Field(LogField::Downstream)]);
    assert_eq!(formatted(&format, &Record { downstream, ..record() }), "[2001:db8::1]:443\n");
}

#[test]
fn long_fields_are_cut_and_the_next_line_is_not_touched() {
    let long = vec![b'x'; 100_000];
    let text = String::from_utf8(long.clone()).unwrap();
    let mut batch = Batch::default();
    batch.push(&Record {
        method: &long,
        authority: &long,
        path: &long,
        route: &text,
        upstream: &text,
        endpoint: &text,
        request_id: &long,
        user_agent: &long,
        ..record()
    });
    batch.push(&record());
    let mut lines = batch.lines();
    let first = lines.next().unwrap();
    assert_eq!((first.method.len(), first.authority.len(), first.path.len()), (32, 256, 2048));
    assert_eq!((first.route.len(), first.upstream.len(), first.endpoint.len()), (256, 256, 256));
    assert_eq!((first.request_id.len(), first.user_agent.len()), (128, 256));
    assert_eq!(lines.next().unwrap().path, b"/cart?id=7");
}

#[test]
fn a_batch_never_grows() {
    for path in [&b"/"[..], &[b'x'; 5000]] {
        let mut batch = Batch::default();
        let before = batch.capacity();
        while !batch.is_full() {
            batch.push(&Record { path, user_agent: &[b'u'; 300], ..record() });
        }
        assert_eq!(batch.capacity(), before);
        assert!(batch.len() >= 4);
    }
}

#[test]
fn a_reader_that_stops_costs_lines_but_never_the_worker() {
    let registry = Registry::new(10);
    let (log, mut reader) = on_a_pipe(&registry);
    let mut writer = log.writer();
    // Without the queue's bound this would take hundreds of megabytes, and with a queue that waits
    // it would never end.
    let total = 100_000;
    for _ in 0..total {
        writer.record(&record());
    }
    writer.flush();
    let dropped = metric(&registry, "pillion_access_log_dropped_total");
    assert!(dropped > 0);
    assert!(!log.flush(Duration::from_millis(1)), "nobody reads yet");

    let mut line = String::new();
    for _ in 0..total - dropped {
        line.clear();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }
    assert!(log.flush(LONG));
    assert_eq!(metric(&registry, "pillion_access_log_lines_total"), total - dropped);
    assert_eq!(metric(&registry, "pillion_access_log_dropped_total"), dropped);
}

#[test]
fn a_writer_that_goes_hands_over_what_it_holds_and_the_thread_ends_with_the_last_handle() {
    let (log, mut reader) = on_a_pipe(&Registry::new(10));
    let mut writer = log.writer();
    writer.record(&record());
    drop(log);
    drop(writer);
    let mut text = String::new();
    // The end of the file comes only when the thread closed its end.
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn lines_stay_whole_on_a_pipe_that_the_app_writes_to_as_well() {
    let (log, reader, mut app) = {
        let (reader, writer) = std::io::pipe().unwrap();
        let app = writer.try_clone().unwrap();
        let output = Output::stream(File::from(OwnedFd::from(writer)));
        let log = AccessLog::spawn(output, LogFormat::Json, &Registry::new(10)).unwrap();
        (log, BufReader::new(reader), app)
    };
    let app = std::thread::spawn(move || {
        for _ in 0..20_000 {
            app.write_all(b"a line of the app\n").unwrap();
        }
    });
    let logging = std::thread::spawn(move || {
        let mut writers = [log.writer(), log.writer()];
        for _ in 0..50 {
            for writer in &mut writers {
                for _ in 0..60 {
                    writer.record(&record());
                }
                writer.flush();
            }
            assert!(log.flush(LONG));
        }
    });
    let (mut of_app, mut of_log) = (0, 0);
    for line in reader.lines() {
        match line.unwrap().as_str() {
            "a line of the app" => of_app += 1,
            line => {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
                of_log += 1;
            }
        }
    }
    app.join().unwrap();
    logging.join().unwrap();
    assert_eq!((of_app, of_log), (20_000, 50 * 2 * 60));
}

proptest! {
    #[test]
    fn any_bytes_make_one_valid_line_in_both_forms(
        method: Vec<u8>, authority: Vec<u8>, path: Vec<u8>, route: String, user_agent: Vec<u8>,
    ) {
        let odd = Record {
            method: &method,
            authority: &authority,
            path: &path,
            route: &route,
            user_agent: &user_agent,
            ..record()
        };
        let json = formatted(&LogFormat::Json, &odd);
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        if !path.is_empty() {
            prop_assert_eq!(back["path"].as_str(), Some(&*String::from_utf8_lossy(&path)));
        }
        let parts = LogField::ALL.iter().map(|(field, ..)| LogPart::Field(*field)).collect();
        let template = formatted(&LogFormat::Template(parts), &odd);
        for line in [json, template] {
            prop_assert!(!line.trim_end_matches('\n').contains(char::is_control));
            prop_assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
