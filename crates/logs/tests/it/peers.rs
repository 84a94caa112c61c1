//! The real receivers: what lands there is read back and compared line by line.

use std::path::Path;

use pillion_logs::record::{Record, Severity, Trace, TraceOrigin, Value};
use pillion_model::logs::{
    Compression, ForwardOutput, HttpOutput, LokiOutput, OpenSearchOutput, Output, SyslogOutput,
    SyslogTransport,
};
use pillion_testkit::{Collector, Loki, OpenSearch, Rsyslog, eventually_some, free_address};
use serde_json::Value as Json;

use crate::batches::{
    RETRY, batches, batches_of, deliver_all, delivered, forward_output, http_output, now,
    on_one_thread, record,
};

/// Messages as they are in the world.
fn messages() -> Vec<String> {
    let mut messages: Vec<String> =
        (0..200).map(|number| format!("request {number} done")).collect();
    messages.extend(
        [
            "a \"quoted\" back\\slash and a tab\tinside",
            "grüß 🦀 \u{2028} 中文",
            "{\"json\": [1, 2]}",
            "</script> & ]]> ' %s $1",
            "ends with a backslash\\",
        ]
        .map(str::to_owned),
    );
    messages.push("long ".repeat(500));
    messages
}

/// [`messages`] as records with everything that a record may have.
fn records() -> Vec<Record<'static>> {
    let full = |(number, body): (usize, String)| Record {
        severity: Severity { number: 13, text: Some("Warn".into()) },
        attributes: [
            ("http.response.status_code".into(), Value::Json("200".into())),
            ("user".into(), Value::Text("Ann \"the\" Admin".into())),
            ("number".into(), Value::Json(number.to_string().into())),
        ]
        .into_iter()
        .collect(),
        trace: Some(Trace { trace: 0xabcd, span: 0x12, origin: TraceOrigin::Record }),
        ..record(number, &body)
    };
    messages().into_iter().enumerate().map(full).collect()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("{json} is no text")).to_owned()
}

#[test]
fn opensearch_has_every_record_once_however_often_it_is_delivered() {
    let peer = OpenSearch::start();
    for compress in [Compression::Gzip, Compression::None] {
        let http = HttpOutput { compress, ..http_output(&peer.url()) };
        let index = "logs-{service.name}-%Y.%m.%d".into();
        let output = Output::OpenSearch(OpenSearchOutput { http, index });
        deliver_all(&output, batches(&output, records(), 50));
    }
    let mut documents = peer.documents("logs-shop-*");
    documents.sort_by_key(|document| document["attributes"]["number"].as_u64());
    let bodies: Vec<_> = documents.iter().map(|document| text(&document["body"])).collect();
    assert_eq!(bodies, messages());
    let first = &documents[0];
    assert_eq!(first["severity_number"], 13);
    assert_eq!(first["attributes"]["http.response.status_code"], 200);
    assert_eq!(first["resource"]["service.name"], "shop");
    assert_eq!(first["trace_id"], format!("{:032x}", 0xabcd));
}

#[test]
fn what_does_not_fit_the_mapping_of_opensearch_is_dead_and_nothing_else_is() {
    let peer = OpenSearch::start();
    let http = http_output(&peer.url());
    let output = Output::OpenSearch(OpenSearchOutput { http, index: "mapped".into() });
    let with = |number, value: &'static str| Record {
        attributes: [("code".into(), Value::Json(value.into()))].into_iter().collect(),
        ..record(number, value)
    };
    deliver_all(&output, batches(&output, [with(0, "1")], 1));
    let records = [with(1, "2"), with(2, r#"{"no": "number"}"#), with(3, "3")];
    let work = delivered(&output, batches(&output, records, 3), RETRY);
    let (_, outcome, status) = on_one_thread(work);
    let [(record, reason)] = &outcome.dead[..] else { panic!("{outcome:?}") };
    assert!(record.contains(r#""code":{"no": "number"}"#), "{record}");
    assert!(reason.contains("status 400, mapper_parsing_exception"), "{reason}");
    assert_eq!(status.delivered_records, 2);
    assert_eq!(peer.documents("mapped").len(), 3);
}

fn loki_output(peer: &Loki) -> Output {
    let http = HttpOutput { compress: Compression::Zstd, ..http_output(&peer.url()) };
    let labels = [("app", "service.name"), ("source", "source")];
    let labels = labels.map(|(name, from)| (name.to_owned(), from.to_owned())).to_vec();
    Output::Loki(LokiOutput { http, tenant: None, labels })
}

#[test]
fn loki_has_every_line_in_order_with_its_metadata() {
    let peer = Loki::start();
    let output = loki_output(&peer);
    deliver_all(&output, batches(&output, records(), 50));
    // Metadata that differs makes a stream of its own in what is read.
    let streams = peer.streams(r#"{app="shop", source="app"}"#);
    let mut lines: Vec<_> = streams
        .iter()
        .flat_map(|stream| {
            let number: usize = text(&stream["stream"]["number"]).parse().unwrap();
            let values = stream["values"].as_array().unwrap();
            values.iter().map(move |value| (number, text(&value[0]), text(&value[1])))
        })
        .collect();
    lines.sort();
    let times: Vec<_> = lines.iter().map(|(_, time, _)| time).collect();
    assert!(times.is_sorted(), "{times:?}");
    let lines: Vec<_> = lines.into_iter().map(|(.., line)| line).collect();
    assert_eq!(lines, messages());
    let metadata = &streams[0]["stream"];
    assert_eq!(metadata["severity"], "Warn");
    assert_eq!(metadata["user"], "Ann \"the\" Admin");
    assert_eq!(metadata["http_response_status_code"], "200");
    assert_eq!(metadata["trace_id"], format!("{:032x}", 0xabcd));
}

/// Research 3.1 (13): what comes too late, too early or in the wrong order is stored all the same.
#[test]
fn loki_has_records_that_are_too_old_or_too_new_for_it() {
    const HOUR: i64 = 3_600_000_000_000;
    let peer = Loki::start();
    let output = loki_output(&peer);
    let now = now();
    let times = [0, -3 * HOUR, -30 * 24 * HOUR, 5 * HOUR, -1_000_000, -40 * 24 * HOUR];
    let records: Vec<_> = times
        .iter()
        .enumerate()
        .map(|(number, offset)| Record {
            time: Some(now + offset),
            ..record(number, &format!("late {number}"))
        })
        .collect();
    deliver_all(&output, batches(&output, records[..1].to_vec(), 1));
    deliver_all(&output, batches(&output, records, 6));
    let query = "since=720h&limit=100&query=%7Bapp%3D%22shop%22%7D";
    let answer = peer.rest().get(&format!("/loki/api/v1/query_range?{query}")).json();
    let mut found: Vec<_> = answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|stream| {
            let original = stream["stream"]["original_time"].as_str();
            let values = stream["values"].as_array().unwrap();
            values.iter().map(move |value| (text(&value[1]), original))
        })
        .collect();
    found.sort();
    let lines: Vec<_> = found.iter().map(|(line, _)| &line[..]).collect();
    assert_eq!(lines, ["late 0", "late 1", "late 2", "late 3", "late 4", "late 5"]);
    for (number, (_, original)) in found.iter().enumerate() {
        let moved = [1, 2, 3, 5].contains(&number);
        let time = (now + times[number]).to_string();
        assert_eq!(*original, moved.then_some(&time[..]), "{number}");
    }
}

#[test]
fn the_collector_has_every_record_with_all_that_it_says() {
    let peer = Collector::start();
    for compress in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let http = HttpOutput { compress, ..http_output(&format!("http://{}", peer.http())) };
        let output = Output::Otlp(http);
        let already = peer.log_records().len();
        deliver_all(&output, batches(&output, records(), 50));
        let mut received = eventually_some("the records at the collector", || {
            let received = peer.log_records().split_off(already);
            (received.len() == messages().len()).then_some(received)
        });
        let attribute = |record: &Json, name: &str| {
            let all = record["attributes"].as_array().unwrap();
            all.iter().find(|attribute| attribute["key"] == name).unwrap()["value"].clone()
        };
        let number = |record: &Json| text(&attribute(record, "number")["intValue"]).parse::<u64>();
        received.sort_by_key(|record| number(record).unwrap());
        let bodies: Vec<_> = received.iter().map(|log| text(&log["body"]["stringValue"])).collect();
        assert_eq!(bodies, messages());
        let first = &received[0];
        assert_eq!(first["severityNumber"], 13);
        assert_eq!(first["severityText"], "Warn");
        assert_eq!(first["traceId"], format!("{:032x}", 0xabcd));
        assert_eq!(first["spanId"], format!("{:016x}", 0x12));
        assert_eq!(attribute(first, "user")["stringValue"], "Ann \"the\" Admin");
        assert_eq!(attribute(first, "pillion.source")["stringValue"], "app");
    }
    let resource = &peer.received()[0]["resourceLogs"][0]["resource"]["attributes"][0];
    assert_eq!(resource["key"], "service.name");
    assert_eq!(resource["value"]["stringValue"], "shop");
}

#[test]
fn the_collector_has_every_record_by_the_forward_protocol() {
    let peer = Collector::start();
    for compress in [Compression::None, Compression::Gzip] {
        let output = forward_output(&peer.forward().to_string());
        // One at a time, so that the order stays: in the program the queue sees to that.
        let output = Output::Forward(ForwardOutput { compress, concurrency: 1, ..output });
        let already = peer.log_records().len();
        deliver_all(&output, batches(&output, records(), 50));
        let received = eventually_some("the records at the collector", || {
            let received = peer.log_records().split_off(already);
            (received.len() == messages().len()).then_some(received)
        });
        let bodies: Vec<_> = received.iter().map(|log| text(&log["body"]["stringValue"])).collect();
        assert_eq!(bodies, messages());
        let fields = fields(&received[7]["attributes"]);
        assert_eq!(fields["fluent.tag"], "shop.Warn");
        assert_eq!((&fields["severity_number"], &fields["source"]), (&13.into(), &"app".into()));
        assert_eq!(fields["trace_id"], format!("{:032x}", 0xabcd));
        assert_eq!(fields["attributes"]["number"], 7);
        assert_eq!(fields["attributes"]["user"], "Ann \"the\" Admin");
        assert_eq!(fields["resource"]["service.name"], "shop");
        assert!(
            received[7]["timeUnixNano"].as_str().is_some_and(|time| !time.ends_with("000000000"))
        );
    }
}

/// A list of OTLP's keys and values as an object.
fn fields(list: &Json) -> Json {
    let value = |value: &Json| match value.as_object().unwrap().iter().next().unwrap() {
        (kind, list) if kind == "kvlistValue" => fields(&list["values"]),
        (kind, number) if kind == "intValue" => text(number).parse::<i64>().unwrap().into(),
        (_, value) => value.clone(),
    };
    let pairs = list.as_array().unwrap().iter();
    Json::Object(pairs.map(|pair| (text(&pair["key"]), value(&pair["value"]))).collect())
}

/// Has rsyslog write the parts of each message into one file. Its own socket for programs of the
/// machine expects the older format that the C library writes, unless it is told otherwise.
fn rsyslog_rules(inputs: &str, folder: &Path) -> String {
    format!(
        "global(parser.escapeControlCharactersOnReceive=\"off\")\n{inputs}\n\
         input(type=\"imuxsock\" Socket=\"{}\" UseSpecialParser=\"off\")\n\
         template(name=\"all\" type=\"string\" \
         string=\"%hostname%|%app-name%|%structured-data%|%msg%\\n\")\n\
         action(type=\"omfile\" file=\"{}\" template=\"all\")",
        folder.join("unix.sock").display(),
        folder.join("out").display()
    )
}

#[test]
fn rsyslog_has_every_message_over_each_transport() {
    let (tcp, udp) = (free_address(), free_address());
    let inputs = format!(
        "module(load=\"imtcp\") module(load=\"imudp\")\n\
         input(type=\"imtcp\" address=\"{}\" port=\"{}\")\n\
         input(type=\"imudp\" address=\"{}\" port=\"{}\")",
        tcp.ip(),
        tcp.port(),
        udp.ip(),
        udp.port()
    );
    let peer = Rsyslog::start(|folder| rsyslog_rules(&inputs, folder));
    let transports = [
        SyslogTransport::Tcp(tcp.to_string().into()),
        SyslogTransport::Udp(udp.to_string().into()),
        SyslogTransport::Unix(peer.folder().join("unix.sock")),
    ];
    let mut already = 0;
    for transport in transports {
        let name = format!("{transport:?}");
        let output = Output::Syslog(SyslogOutput { transport, facility: 16 });
        let messages = messages();
        deliver_all(&output, batches_of(&output, &messages, 20));
        let lines = eventually_some(&name, || {
            let text = peer.text("out");
            let lines: Vec<_> = text.lines().skip(already).map(str::to_owned).collect();
            (lines.len() >= messages.len()).then_some(lines)
        });
        already += lines.len();
        for (line, message) in lines.iter().zip(&messages) {
            let parts: Vec<_> = line.splitn(4, '|').collect();
            assert_eq!(parts[1..], ["shop", parts[2], message], "{name}");
            assert!(parts[2].contains("source=\"app\""), "{name}: {line}");
        }
    }
}
