//! Servers that follow the published protocols, except where a test has them do something else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillion_logs::deliver::{CircuitState, Deliverer, End};
use pillion_logs::sink::{Cause, Sink};
use pillion_model::logs::{Compression, Credential, HttpOutput, OpenSearchOutput, Output, Retry};
use pillion_testkit::{Conn, Gate, Origin};
use serde_json::{Value, json};

use crate::batches::{
    Batches, RETRY, batches_of, deliver_all, delivered, http_output, lines, on_one_thread,
};
use crate::patience::until;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Plain,
    Bulk,
    Otlp,
    Splunk,
}

const PROTOCOLS: [Protocol; 4] =
    [Protocol::Plain, Protocol::Bulk, Protocol::Otlp, Protocol::Splunk];

impl Protocol {
    fn output(self, http: HttpOutput) -> Output {
        match self {
            Self::Plain => Output::Http(http),
            Self::Bulk => Output::OpenSearch(OpenSearchOutput { http, index: "logs".into() }),
            Self::Otlp => Output::Otlp(http),
            Self::Splunk => Output::Splunk(http),
        }
    }

    /// The answer to a request all of which was taken.
    fn thanks(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => answer(200, "", b"ok"),
            Self::Otlp => answer(200, "content-type: application/x-protobuf\r\n", b""),
            Self::Splunk => answer(200, "", br#"{"text":"Success","code":0}"#),
            Self::Bulk => {
                let statuses = vec![201; String::from_utf8_lossy(body).lines().count() / 2];
                bulk_answer(&statuses)
            }
        }
    }
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn bulk_answer(statuses: &[u16]) -> Vec<u8> {
    let items: Vec<Value> = statuses
        .iter()
        .map(|status| match status {
            200..=299 => json!({"create": {"status": status}}),
            _ => json!({"create": {"status": status, "error": {"type": "kind", "reason": "why"}}}),
        })
        .collect();
    let errors = statuses.iter().any(|status| *status > 299);
    answer(200, "", json!({"errors": errors, "items": items}).to_string().as_bytes())
}

/// What a server does to a request in place of taking it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Status(u16),
    /// With `Retry-After: 0`.
    Busy,
    /// It answers when the client has long gone.
    Slow,
    /// Half of the thanks.
    Truncated,
    /// The connection is reset after the whole request.
    Reset,
    /// No HTTP at all.
    Noise,
    /// HTTP, but not what was asked for.
    Nonsense,
}

/// The bodies that a server took, as text.
type Taken = Arc<Mutex<Vec<String>>>;

/// A server that commits each of these faults once, and then takes everything.
fn faulty(protocol: Protocol, faults: Vec<Fault>) -> (Origin, Taken) {
    let taken = Taken::default();
    let (faults, bodies) = (Mutex::new(faults.into_iter()), taken.clone());
    let origin = Origin::start(move |mut conn| {
        while let Some((_, body)) = conn.request() {
            let Some(fault) = faults.lock().unwrap().next() else {
                bodies.lock().unwrap().push(String::from_utf8_lossy(&body.data).into_owned());
                conn.send(protocol.thanks(&body.data));
                continue;
            };
            return commit(fault, protocol, &body.data, conn);
        }
    });
    (origin, taken)
}

fn commit(fault: Fault, protocol: Protocol, body: &[u8], mut conn: Conn) {
    match fault {
        Fault::Status(status) => conn.send(answer(status, "", b"no")),
        Fault::Busy => conn.send(answer(429, "retry-after: 0\r\n", b"")),
        Fault::Slow => conn.wait_for_end(),
        Fault::Truncated => {
            let whole = protocol.thanks(body);
            // Of an answer without a body, the head; of one that has one, its half.
            let cut = whole.len() - if protocol == Protocol::Otlp { 2 } else { 1 };
            conn.send(&whole[..cut]);
        }
        Fault::Reset => conn.reset(),
        Fault::Noise => conn.send(b"\x16\x03\x01 what is this\r\n\r\n"),
        Fault::Nonsense => conn.send(answer(200, "", b"<html>Welcome</html>")),
    }
}

/// Every line is in some body that the server took.
fn assert_taken(lines: &[String], taken: &Taken) {
    let bodies = taken.lock().unwrap().concat();
    for line in lines {
        assert!(bodies.contains(line), "{line} did not arrive");
    }
}

#[test]
fn no_fault_of_a_server_loses_a_record() {
    let faults = |protocol| {
        let mut faults = vec![
            Fault::Busy,
            Fault::Status(503),
            Fault::Status(502),
            Fault::Status(401),
            Fault::Status(404),
            Fault::Slow,
            Fault::Truncated,
            Fault::Reset,
            Fault::Noise,
        ];
        if protocol != Protocol::Plain {
            faults.push(Fault::Nonsense);
        }
        if protocol != Protocol::Otlp {
            faults.push(Fault::Status(500));
        }
        faults
    };
    for protocol in PROTOCOLS {
        let (origin, taken) = faulty(protocol, faults(protocol));
        let timeout = Duration::from_millis(500);
        let http = http_output(&format!("http://{}", origin.address()));
        let output = protocol.output(HttpOutput { timeout, ..http });
        let lines = lines(30);
        let status = deliver_all(&output, batches_of(&output, &lines, 10));
        assert_taken(&lines, &taken);
        let retries: u64 = status.retries.iter().map(|(_, count)| count).sum();
        assert!(retries >= faults(protocol).len() as u64, "{protocol:?}: {status:?}");
        assert_eq!(status.circuit, CircuitState::Closed);
        assert_eq!(status.last_error, None);
        assert!(status.last_success.is_some());
    }
}

#[test]
fn what_is_too_large_is_sent_in_halves_down_to_the_record_that_is_too_large_alone() {
    for protocol in PROTOCOLS {
        let taken = Taken::default();
        let bodies = taken.clone();
        let origin = Origin::answering(move |_, body| {
            if body.data.len() > 2000 {
                return answer(413, "", b"too large");
            }
            bodies.lock().unwrap().push(String::from_utf8_lossy(&body.data).into_owned());
            protocol.thanks(&body.data)
        });
        let output = protocol.output(http_output(&format!("http://{}", origin.address())));
        let mut lines = lines(20);
        lines[7] = format!("giant {}", "x".repeat(3000));
        let work = delivered(&output, batches_of(&output, &lines, 20), RETRY);
        let (end, outcome, status) = on_one_thread(work);
        assert_eq!((end, outcome.done), (End::Drained, 1));
        let [(record, reason)] = &outcome.dead[..] else { panic!("{protocol:?} {outcome:?}") };
        assert!(record.contains("giant") && reason.contains("413"), "{reason}");
        assert_eq!((status.delivered_records, status.rejected_records), (19, 1));
        lines.remove(7);
        assert_taken(&lines, &taken);
    }
}

/// The documents of an index, and what is answered for the first try of each id.
struct Index {
    documents: BTreeMap<String, String>,
    first: BTreeMap<String, u16>,
}

impl Index {
    /// Does what a request says, and answers for each of its items.
    fn bulk(&mut self, body: &str) -> Vec<u8> {
        let mut statuses = Vec::new();
        let mut lines = body.lines();
        while let (Some(action), Some(document)) = (lines.next(), lines.next()) {
            let action: Value = serde_json::from_str(action).unwrap();
            let id = action["create"]["_id"].as_str().unwrap().to_owned();
            statuses.push(match self.first.remove(&id) {
                Some(status) => status,
                None if self.documents.contains_key(&id) => 409,
                None => {
                    self.documents.insert(id, document.to_owned());
                    201
                }
            });
        }
        bulk_answer(&statuses)
    }
}

/// Research 3.1 (12): a `_bulk` that answers 200 with errors inside.
#[test]
fn of_a_bulk_that_fails_in_part_each_record_gets_what_it_needs() {
    let id = |number: usize| format!("{:032x}", 0xabc0_0000_0000 + number as u128);
    let first = [(1, 429), (2, 400), (3, 503), (5, 500), (9, 429)];
    let first = first.map(|(number, status)| (id(number), status)).into_iter().collect();
    let index = Arc::new(Mutex::new(Index { documents: BTreeMap::new(), first }));
    let served = index.clone();
    let origin = Origin::answering(move |_, body| {
        served.lock().unwrap().bulk(str::from_utf8(&body.data).unwrap())
    });
    let output = Protocol::Bulk.output(http_output(&format!("http://{}", origin.address())));
    let lines = lines(10);
    let work = delivered(&output, batches_of(&output, &lines, 10), RETRY);
    let (_, outcome, status) = on_one_thread(work);
    let [(record, reason)] = &outcome.dead[..] else { panic!("{outcome:?}") };
    assert!(record.contains("line 2;"), "{record}");
    assert_eq!(reason, "status 400, kind: why");
    assert_eq!((status.delivered_records, status.rejected_records), (9, 1));
    let documents = &index.lock().unwrap().documents;
    let expected: Vec<_> = (0..10).filter(|number| *number != 2).map(id).collect();
    assert_eq!(documents.keys().cloned().collect::<Vec<_>>(), expected);
    // What arrived is not sent again: ten, then the four that were refused for the moment.
    let sent: usize = origin
        .requests()
        .iter()
        .map(|(_, body)| body.data.iter().filter(|byte| **byte == b'\n').count() / 2)
        .sum();
    assert_eq!(sent, 14);
}

/// What Splunk's event collector answers to a request that has something wrong in it: the number of
/// the first event that is at fault, and nothing is taken.
fn collector_answer(events: &str, bad: &[&str]) -> Result<Vec<u8>, Vec<u8>> {
    let is_bad = |event: &str| bad.iter().any(|bad| event.contains(bad));
    match events.lines().position(is_bad) {
        None => Ok(answer(200, "", br#"{"text":"Success","code":0}"#)),
        Some(number) => {
            let text = "Event field cannot be blank";
            let said = json!({"text": text, "code": 13, "invalid-event-number": number});
            Err(answer(400, "", said.to_string().as_bytes()))
        }
    }
}

#[test]
fn of_events_that_splunk_refuses_each_is_dead_and_all_others_arrive_once() {
    let taken = Taken::default();
    let (bodies, tries) = (taken.clone(), AtomicUsize::new(0));
    let origin = Origin::answering(move |head, body| {
        assert_eq!(head.line, "POST /services/collector/event HTTP/1.1");
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => return answer(403, "", br#"{"text":"Invalid token","code":4}"#),
            1 => return answer(503, "", br#"{"text":"Server is busy","code":9}"#),
            _ => {}
        }
        let events = String::from_utf8(body.data.clone()).unwrap();
        collector_answer(&events, &["line 3;", "line 7;"])
            .inspect(|_| bodies.lock().unwrap().push(events))
            .unwrap_or_else(|refusal| refusal)
    });
    let output = Protocol::Splunk.output(http_output(&format!("http://{}", origin.address())));
    let mut lines = lines(10);
    let work = delivered(&output, batches_of(&output, &lines, 10), RETRY);
    let (end, outcome, status) = on_one_thread(work);
    assert_eq!((end, outcome.done, outcome.dead.len()), (End::Drained, 1, 2));
    for ((record, reason), line) in outcome.dead.iter().zip(["line 3;", "line 7;"]) {
        assert!(record.contains(line), "{record}");
        assert_eq!(reason, "code 13: Event field cannot be blank");
    }
    assert_eq!((status.delivered_records, status.rejected_records), (8, 2));
    for cause in [Cause::Credentials, Cause::Busy] {
        assert!(status.retries.contains(&(cause, 1)), "{status:?}");
    }
    lines.retain(|line| !["line 3;", "line 7;"].contains(&&**line));
    assert_taken(&lines, &taken);
    assert_eq!(taken.lock().unwrap().concat().lines().count(), 8);
}

/// The answer to the first request is lost, after all of it was written.
#[test]
fn a_bulk_that_was_written_but_not_answered_leaves_no_duplicates() {
    let index = Arc::new(Mutex::new(Index { documents: BTreeMap::new(), first: BTreeMap::new() }));
    let served = index.clone();
    let origin = Origin::start(move |mut conn| {
        while let Some((_, body)) = conn.request() {
            let answer = served.lock().unwrap().bulk(str::from_utf8(&body.data).unwrap());
            if conn.number == 0 {
                return conn.reset();
            }
            conn.send(answer);
        }
    });
    let output = Protocol::Bulk.output(http_output(&format!("http://{}", origin.address())));
    let status = deliver_all(&output, batches_of(&output, &lines(10), 10));
    assert_eq!(index.lock().unwrap().documents.len(), 10);
    assert_eq!(status.retries.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn bodies_are_compressed_as_configured_and_credentials_read_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Bearer old\n").unwrap();
    let (rotated, authorized) = (token.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = authorized.clone();
    let origin = Origin::answering(move |head, _| {
        if head.field("authorization") != Some("Bearer new") {
            // Somebody rotates it as soon as the old one is refused.
            std::fs::write(&rotated, "Bearer new\n").unwrap();
            return answer(401, "", b"expired");
        }
        seen.fetch_add(1, Ordering::Relaxed);
        Protocol::Plain.thanks(b"")
    });
    for (compress, coding) in [
        (Compression::None, None),
        (Compression::Gzip, Some("gzip")),
        (Compression::Zstd, Some("zstd")),
    ] {
        std::fs::write(&token, "Bearer old\n").unwrap();
        let output = Output::Http(HttpOutput {
            compress,
            headers: vec![("authorization".to_owned(), Credential::File(token.clone()))],
            ..http_output(&format!("http://{}/in", origin.address()))
        });
        let lines = lines(100);
        let status = deliver_all(&output, batches_of(&output, &lines, 100));
        assert!(status.retries.contains(&(Cause::Credentials, 1)), "{status:?}");
        let (head, body) = origin.requests().pop().unwrap();
        assert_eq!(head.field("content-encoding"), coding);
        assert_eq!(head.line, "POST /in HTTP/1.1");
        let text = match compress {
            Compression::None => body.data,
            Compression::Gzip => {
                let mut text = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(&body.data[..]);
                std::io::copy(&mut decoder, &mut text).unwrap();
                text
            }
            Compression::Zstd => zstd::stream::decode_all(&body.data[..]).unwrap(),
        };
        assert_taken(&lines, &Arc::new(Mutex::new(vec![String::from_utf8(text).unwrap()])));
    }
    assert_eq!(authorized.load(Ordering::Relaxed), 3);
}

#[test]
fn a_configured_content_type_takes_the_place_of_ours() {
    let origin = Origin::answering(|_, _| Protocol::Plain.thanks(b""));
    let http = http_output(&format!("http://{}", origin.address()));
    let json = ("Content-Type".to_owned(), Credential::Text("application/json".to_owned()));
    for (headers, expected) in
        [(Vec::new(), "application/x-ndjson"), (vec![json], "application/json")]
    {
        let output = Output::Http(HttpOutput { headers, ..http.clone() });
        deliver_all(&output, batches_of(&output, &lines(1), 1));
        let (head, _) = origin.requests().pop().unwrap();
        assert_eq!(head.all("content-type"), [expected]);
    }
}

#[test]
fn more_requests_at_a_time_go_out_while_the_sink_keeps_up_and_never_more_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (now, most.clone());
    let origin = Origin::answering(move |_, _| {
        let running_now = running.fetch_add(1, Ordering::SeqCst) + 1;
        peak.fetch_max(running_now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        running.fetch_sub(1, Ordering::SeqCst);
        Protocol::Plain.thanks(b"")
    });
    let http = http_output(&format!("http://{}", origin.address()));
    let output = Output::Http(HttpOutput { concurrency: 3, ..http });
    let status = deliver_all(&output, batches_of(&output, &lines(100), 1));
    let most = most.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} at a time, {status:?}");
}

#[test]
fn a_slow_sink_never_stops_another() {
    let gate = Gate::new();
    let held = gate.clone();
    let stuck = Origin::answering(move |_, _| {
        held.wait();
        Protocol::Plain.thanks(b"")
    });
    let quick = Origin::answering(|_, _| Protocol::Plain.thanks(b""));
    on_one_thread(async {
        let output =
            |origin: &Origin| Output::Http(http_output(&format!("http://{}", origin.address())));
        let (slow, other) = (output(&stuck), output(&quick));
        let slow = tokio::task::spawn_local(async move {
            delivered(&slow, batches_of(&slow, &lines(1), 1), RETRY).await
        });
        let (end, ..) = delivered(&other, batches_of(&other, &lines(50), 1), RETRY).await;
        assert_eq!(end, End::Drained);
        assert!(!slow.is_finished());
        gate.open();
        assert_eq!(slow.await.unwrap().0, End::Drained);
    });
}

#[test]
fn a_batch_is_given_up_after_its_time_and_all_of_it_is_dead() {
    let origin = Origin::answering(|_, _| answer(503, "", b"away"));
    let output = Output::Http(http_output(&format!("http://{}", origin.address())));
    let give_up = Some(Duration::from_millis(100));
    let retry = Retry { give_up, ..RETRY };
    let work = delivered(&output, batches_of(&output, &lines(5), 5), retry);
    let (end, outcome, status) = on_one_thread(work);
    assert_eq!((end, outcome.done, outcome.dead.len()), (End::Drained, 1, 5));
    assert!(outcome.dead[0].1.starts_with("given up after 100ms: answered 503"));
    assert_eq!((status.delivered_records, status.rejected_records), (0, 5));
}

/// Research 3.1 (18): what a receiver rejects of a request is counted, and not sent for ever.
#[test]
fn what_an_otlp_receiver_rejects_is_counted_and_never_sent_again() {
    // ExportLogsServiceResponse{partial_success{rejected_log_records: 2, error_message: "full"}}
    let rejected = b"\x0a\x08\x08\x02\x12\x04full";
    let origin = Origin::answering(move |_, _| answer(200, "", rejected));
    let output = Output::Otlp(http_output(&format!("http://{}", origin.address())));
    let work = delivered(&output, batches_of(&output, &lines(5), 5), RETRY);
    let (end, outcome, status) = on_one_thread(work);
    assert_eq!((end, outcome.done), (End::Drained, 1));
    assert_eq!((status.delivered_records, status.rejected_records), (3, 2));
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(status.last_error.as_deref(), Some("full"));
}

#[test]
fn what_goes_back_when_a_delivery_is_stopped_is_all_that_had_not_arrived() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |_, body| {
        if String::from_utf8_lossy(&body.data).contains("line 0;") {
            return Protocol::Plain.thanks(b"");
        }
        held.wait();
        Protocol::Plain.thanks(b"")
    });
    let output = Output::Http(http_output(&format!("http://{}", origin.address())));
    on_one_thread(async {
        let supply = Batches::new(batches_of(&output, &lines(3), 1));
        let outcome = supply.outcome();
        let sink = Sink::new(&output).unwrap();
        let deliverer = Deliverer::new("test".into(), sink, RETRY, 1);
        let delivery = deliverer.clone();
        let running = tokio::task::spawn_local(async move { delivery.run(supply).await });
        until(|| deliverer.status().delivered_records == 1).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        let outcome = outcome.borrow();
        assert_eq!(outcome.done, 1);
        assert!((1..=2).contains(&outcome.given_back), "{outcome:?}");
    });
    gate.open();
}
