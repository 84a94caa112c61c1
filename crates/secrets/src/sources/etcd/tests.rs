//! A watch that breaks, or dies without a sound.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pillion_testkit::{Conn, Origin, PATIENCE};
use tokio::sync::watch;

use super::*;

const LIMITS: Limits = Limits { files: 10, bytes: 1024 };

/// A server that reads as etcd does, and whose watches do as they are told.
struct Fake {
    origin: Origin,
    /// The answer to a read: revision, value, and whether it has another key.
    state: Arc<Mutex<(i64, &'static str)>>,
    reads: Arc<AtomicUsize>,
}

impl Fake {
    fn start(watching: impl Fn(&mut Conn, usize) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new((5, "b25l")));
        let (reads, watches) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let (read, count) = (state.clone(), reads.clone());
        let origin = Origin::start(move |mut conn| {
            while let Some((head, _)) = conn.request() {
                if head.line.contains("/v3/watch") {
                    conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
                    watching(&mut conn, watches.fetch_add(1, Ordering::SeqCst));
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (revision, value) = *read.lock().unwrap();
                let body = format!(
                    r#"{{"header":{{"revision":"{revision}"}},"count":"1","kvs":[{{"key":"YXBwL2E=","value":"{value}","mod_revision":"{revision}"}}]}}"#
                );
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        });
        Self { origin, state, reads }
    }

    fn source(&self, silence: Duration) -> EtcdSource {
        let url = format!("http://{}", self.origin.address());
        let mut source = EtcdSource::new(&url, &Options::default(), "app/", LIMITS).unwrap();
        source.silence = silence;
        source
    }
}

async fn next(source: &mut EtcdSource, proof: &Proof) -> Result<Files, SourceError> {
    let mut pace = Pace::new(Box::new(|| 0.0));
    timeout(PATIENCE, source.next(&mut pace, proof)).await.unwrap()
}

fn text(files: &Files) -> &str {
    files.files.values().next().unwrap().reveal_text().unwrap()
}

#[tokio::test]
async fn a_watch_that_is_dead_without_a_sound_is_found_out() {
    let fake = Fake::start(|conn, _| {
        conn.send("{\"result\":{\"header\":{\"revision\":\"5\"},\"created\":true}}\n");
        conn.wait_for_end();
    });
    let (proof, mut proven) = {
        let (sender, receiver) = watch::channel(None);
        (Proof(sender), receiver)
    };
    let mut source = fake.source(Duration::from_millis(50));
    assert_eq!(text(&next(&mut source, &proof).await.unwrap()), "one");
    // Nothing happens, and that is proven again and again.
    for _ in 0..3 {
        proven.borrow_and_update();
        tokio::select! {
            news = next(&mut source, &proof) => panic!("{news:?}"),
            changed = proven.changed() => changed.unwrap(),
        }
    }
    assert!(fake.reads.load(Ordering::SeqCst) >= 2);
    *fake.state.lock().unwrap() = (9, "dHdv");
    let files = next(&mut source, &proof).await.unwrap();
    assert_eq!((text(&files), files.version.as_str()), ("two", "revision 9"));
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_it_was_and_its_pieces_are_put_together() {
    let event = |revision: i64, value: &str| {
        format!(
            "{{\"result\":{{\"header\":{{\"revision\":\"{revision}\"}},\"events\":[{{\"kv\":{{\"key\":\"YXBwL2E=\",\"value\":\"{value}\"}}}}]}}}}\n"
        )
    };
    let fake = Fake::start(move |conn, number| match number {
        // One and a half message.
        0 => conn.send([event(6, "dHdv"), event(7, "dGhyZWU=")[..20].to_owned()].concat()),
        _ => {
            for byte in event(7, "dGhyZWU=").as_bytes().chunks(7) {
                conn.send(byte);
            }
            conn.wait_for_end();
        }
    });
    let proof = Proof(watch::Sender::new(None));
    let mut source = fake.source(PATIENCE);
    assert_eq!(text(&next(&mut source, &proof).await.unwrap()), "one");
    assert_eq!(text(&next(&mut source, &proof).await.unwrap()), "two");
    let broken = next(&mut source, &proof).await.unwrap_err();
    assert!(matches!(broken, SourceError::Answer { .. }), "{broken}");
    assert_eq!(text(&next(&mut source, &proof).await.unwrap()), "three");
    let requests = fake.origin.requests();
    let watches = requests.iter().filter(|(head, _)| head.line.contains("/v3/watch"));
    let from: Vec<String> = watches
        .map(|(_, body)| {
            let body: serde_json::Value = serde_json::from_slice(&body.data).unwrap();
            body["create_request"]["start_revision"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(from, ["6", "7"]);
    assert_eq!(fake.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn answers_that_are_not_those_of_etcd_are_errors_that_quote_nothing() {
    for answer in
        ["", "{}", "hunter2", "{\"kvs\":\"hunter2\"}", "{\"kvs\":[{\"key\":\"hunter2!\"}]}"]
    {
        let origin = Origin::saying(answer);
        let url = format!("http://{}", origin.address());
        let mut source = EtcdSource::new(&url, &Options::default(), "app/", LIMITS).unwrap();
        let proof = Proof(watch::Sender::new(None));
        let error = next(&mut source, &proof).await.unwrap_err().to_string();
        assert!(error.contains("answered something else") && !error.contains("hunter2"), "{error}");
        assert!(proof.0.borrow().is_none());
    }
}
