//! Against receivers that follow the protocol, and some that do not.

use std::collections::VecDeque;
use std::io::Read as _;
use std::rc::Rc;

use pillion_model::logs::ForwardLogin;
use pillion_testkit::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::handshake::digest;
use super::*;

const KEY: &str = "the key of both";

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug)]
enum Act {
    Acknowledge,
    /// Some bytes in place of an acknowledgement.
    Say(&'static [u8]),
    /// Another message than the one that came.
    AcknowledgeOther,
    /// A message that never ends.
    Endless,
    Close,
    AcknowledgeAndClose,
    Nothing,
}

/// A message as it came.
#[derive(Clone, Debug)]
struct Message {
    tag: String,
    entries: Vec<Value>,
    chunk: String,
    size: Value,
    compressed: Option<String>,
}

/// What receivers of one test have in common.
#[derive(Default)]
struct Shared {
    acts: RefCell<VecDeque<Act>>,
    taken: RefCell<Vec<Message>>,
    connections: RefCell<usize>,
    greeting: Option<Greeting>,
}

/// How a receiver greets.
#[derive(Clone, Copy, Default)]
struct Greeting {
    /// The key that it has.
    key: &'static str,
    /// User and password that it wants.
    user: Option<(&'static str, &'static str)>,
    is_kept: bool,
}

struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    async fn read(&mut self) -> Option<(Item, Vec<u8>)> {
        loop {
            if let Ok((item, length)) = msgpack::read(&self.unread) {
                return Some((item, self.unread.drain(..length).collect()));
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, json: &Value) {
        let mut bytes = Vec::new();
        msgpack::json(&json.to_string(), &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// HELO, PING, PONG, as the receiver.
    async fn greet(&mut self, greeting: Greeting) -> Option<()> {
        let auth = if greeting.user.is_some() { "salt of passwords" } else { "" };
        let hello = serde_json::json!(["HELO", {
            "nonce": "number once", "auth": auth, "keepalive": greeting.is_kept,
        }]);
        self.send(&hello).await;
        let (ping, written) = self.read().await?;
        assert!(!written.contains(&0xc6) && !written.contains(&0xc4), "everything is text");
        let [name, salt, proof, user, password] = ping.message("PING").unwrap() else {
            panic!("{ping:?}")
        };
        let bytes = |item: &Item| item.text().unwrap().to_vec();
        let known = |name: &[u8]| {
            digest(&[&bytes(salt), name, b"number once", greeting.key.as_bytes()]).into_bytes()
        };
        let expected = greeting.user.map_or((vec![], vec![]), |(user, password)| {
            let proof = digest(&[auth.as_bytes(), user.as_bytes(), password.as_bytes()]);
            (user.into(), proof.into())
        });
        let is_known = (bytes(user), bytes(password)) == expected;
        let is_taken = is_known && bytes(proof) == known(&bytes(name));
        let reason = if is_taken { "" } else { "key or password mismatch" };
        let proof = String::from_utf8(known(b"receiver")).unwrap();
        self.send(&serde_json::json!(["PONG", is_taken, reason, "receiver", proof])).await;
        is_taken.then_some(())
    }

    async fn serve(mut self, shared: Rc<Shared>) -> Option<()> {
        if let Some(greeting) = shared.greeting {
            self.greet(greeting).await?;
        }
        loop {
            let (item, bytes) = self.read().await?;
            let message = message(&item, &bytes);
            let chunk = message.chunk.clone();
            shared.taken.borrow_mut().push(message);
            let act = shared.acts.borrow_mut().pop_front();
            match act.unwrap_or(Act::Acknowledge) {
                Act::Acknowledge => self.send(&serde_json::json!({"ack": chunk})).await,
                Act::AcknowledgeOther => self.send(&serde_json::json!({"ack": "other"})).await,
                Act::Say(bytes) => self.stream.write_all(bytes).await.unwrap(),
                Act::Endless => {
                    let endless = [&[0xdb, 0, 2, 0, 0][..], &[b'x'; 100_000]].concat();
                    // The sink may be gone before it is all written.
                    drop(self.stream.write_all(&endless).await);
                }
                Act::Close => return None,
                Act::AcknowledgeAndClose => {
                    self.send(&serde_json::json!({"ack": chunk})).await;
                    return None;
                }
                Act::Nothing => {}
            }
        }
    }
}

fn message(item: &Item, bytes: &[u8]) -> Message {
    let Item::Array(items) = item else { panic!("{item:?}") };
    let [tag, entries, option] = &items[..] else { panic!("{item:?}") };
    let text = |item: &Item| String::from_utf8(item.text().unwrap().to_vec()).unwrap();
    let compressed = option.field("compressed").map(text);
    let entries = entries.text().unwrap();
    let mut plain = Vec::new();
    match compressed {
        Some(_) => drop(flate2::read::GzDecoder::new(entries).read_to_end(&mut plain).unwrap()),
        None => plain.extend_from_slice(entries),
    }
    let (mut rest, mut entries) = (&plain[..], Vec::new());
    while !rest.is_empty() {
        entries.push(msgpack::tests::value(&mut rest));
    }
    // Our reader looks at no numbers; this one does.
    let start = bytes.windows(5).rposition(|window| window == b"\xa4size").unwrap();
    let size = msgpack::tests::value(&mut &bytes[start + 5..]);
    let chunk = text(option.field("chunk").unwrap());
    Message { tag: text(tag), entries, chunk, size, compressed }
}

fn output(address: &str) -> ForwardOutput {
    ForwardOutput {
        address: address.into(),
        tls: None,
        tag: "tag".into(),
        login: None,
        compress: Compression::None,
        timeout: PATIENCE,
        concurrency: 2,
    }
}

/// Runs a test with the address of a receiver.
fn with_receiver<F: Future<Output = ()>>(
    shared: &Rc<Shared>,
    test: impl FnOnce(ForwardOutput) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = shared.clone();
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *shared.connections.borrow_mut() += 1;
                spawn_local(Peer { stream, unread: Vec::new() }.serve(shared.clone()));
            }
        });
        test(output(&address)).await;
    });
}

fn acting(acts: &[Act]) -> Rc<Shared> {
    Rc::new(Shared { acts: RefCell::new(acts.iter().copied().collect()), ..Shared::default() })
}

/// Sends two records, numbers 1 and 2.
async fn send(sink: &Forward) -> Verdict {
    sink.send(Load::new("a.tag", &Bytes::from_static(&[1, 2]), &[1, 2])).await
}

fn cause(verdict: &Verdict) -> Option<Cause> {
    match verdict {
        Verdict::Delivered => None,
        Verdict::Retry(trouble) => Some(trouble.cause),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_has_its_tag_its_records_and_an_id_of_its_own() {
    for (compress, coding) in [
        (Compression::None, None),
        (Compression::Gzip, Some("gzip")),
        (Compression::Zstd, Some("gzip")),
    ] {
        let shared = acting(&[]);
        with_receiver(&shared, async |output| {
            let sink = Forward::new(&ForwardOutput { compress, ..output }).unwrap();
            for _message in 0..2 {
                assert_eq!(send(&sink).await, Verdict::Delivered);
            }
        });
        let taken = shared.taken.borrow();
        let [first, second] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((&*first.tag, &first.size), ("a.tag", &Value::from(2)));
        assert_eq!(first.entries, [1, 2]);
        assert_eq!(first.compressed.as_deref(), coding);
        assert!(first.chunk.len() >= 16 && first.chunk != second.chunk, "{taken:?}");
        assert_eq!(*shared.connections.borrow(), 1, "the connection is used again");
    }
}

#[test]
fn what_is_not_acknowledged_is_sent_again_over_another_connection() {
    let acts = [
        (Act::Close, Some(Cause::Broken)),
        (Act::AcknowledgeOther, Some(Cause::Garbled)),
        (Act::Say(&[0xc1]), Some(Cause::Garbled)),
        (Act::Say(&[0x81, 0xa1, b'x', 0xc0]), Some(Cause::Garbled)),
        (Act::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Some(Cause::Garbled)),
        (Act::Endless, Some(Cause::Garbled)),
        (Act::Acknowledge, None),
        (Act::Acknowledge, None),
    ];
    let shared = acting(&acts.map(|(act, _)| act));
    with_receiver(&shared, async |output| {
        let sink = Forward::new(&output).unwrap();
        for (act, expected) in acts {
            assert_eq!(cause(&send(&sink).await), expected, "{act:?}");
        }
    });
    assert_eq!(shared.taken.borrow().len(), acts.len());
    assert_eq!(*shared.connections.borrow(), acts.len() - 1);
}

#[test]
fn a_receiver_that_says_nothing_is_waited_for_as_long_as_configured() {
    let shared = acting(&[Act::Nothing]);
    with_receiver(&shared, async |output| {
        let timeout = Duration::from_millis(50);
        let sink = Forward::new(&ForwardOutput { timeout, ..output }).unwrap();
        let verdict = send(&sink).await;
        assert_eq!(cause(&verdict), Some(Cause::Timeout), "{verdict:?}");
        assert!(sink.idle.borrow().is_empty());
    });
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_costs_nothing() {
    let shared = acting(&[Act::AcknowledgeAndClose]);
    with_receiver(&shared, async |output| {
        let sink = Forward::new(&output).unwrap();
        assert_eq!(send(&sink).await, Verdict::Delivered);
        while sink.idle.borrow_mut()[0].0.is_silent() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(send(&sink).await, Verdict::Delivered);
    });
    assert_eq!(*shared.connections.borrow(), 2);
}

#[test]
fn a_receiver_that_is_not_there_is_no_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let closed = pillion_testkit::ClosedPort::new();
    let sink = Forward::new(&output(&closed.address().to_string())).unwrap();
    assert_eq!(cause(&runtime.block_on(send(&sink))), Some(Cause::Connect));
}

#[test]
fn both_sides_have_to_know_the_key_and_we_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), format!("{text}\n")).unwrap();
        folder.path().join(name)
    };
    let (right, wrong) = (file("right", KEY), file("wrong", "another key"));
    let (password, bad) = (file("password", "secret"), file("bad", "guess"));
    let ann = |file: &std::path::PathBuf| Some(("ann".to_owned(), file.clone()));
    let login =
        |key: &std::path::PathBuf, user| Some(ForwardLogin { shared_key: key.clone(), user });
    let plain = Greeting { key: KEY, user: None, is_kept: true };
    let users = Greeting { user: Some(("ann", "secret")), ..plain };
    for (greeting, login, expected) in [
        (plain, login(&right, None), ""),
        (plain, login(&right, ann(&password)), ""),
        (users, login(&right, ann(&password)), ""),
        (Greeting { is_kept: false, ..plain }, login(&right, None), ""),
        (plain, None, "wants a key that both share: set shared_key_file"),
        (plain, login(&wrong, None), "refused our key: key or password mismatch"),
        (users, login(&right, ann(&bad)), "refused our key: key or password mismatch"),
        (users, login(&right, None), "wants a user: set user and password_file"),
        (plain, login(&folder.path().join("none"), None), "cannot read"),
    ] {
        let shared = Rc::new(Shared { greeting: Some(greeting), ..Shared::default() });
        with_receiver(&shared, async |output| {
            let sink = Forward::new(&ForwardOutput { login, ..output }).unwrap();
            match send(&sink).await {
                Verdict::Delivered => assert_eq!(expected, ""),
                Verdict::Retry(trouble) => {
                    assert_eq!(trouble.cause, Cause::Credentials, "{}", trouble.text);
                    assert!(!expected.is_empty() && trouble.text.contains(expected), "{trouble:?}");
                    assert!(!trouble.text.contains(KEY));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(
                sink.idle.borrow().len(),
                usize::from(expected.is_empty() && greeting.is_kept)
            );
        });
    }
}

#[test]
fn a_receiver_that_takes_any_key_without_knowing_it_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let login = Some(ForwardLogin { shared_key: key, user: None });
        let address = listener.local_addr().unwrap().to_string();
        let sink = Forward::new(&ForwardOutput { login, ..output(&address) }).unwrap();
        let liar = async {
            let mut peer = Peer { stream: listener.accept().await.unwrap().0, unread: Vec::new() };
            peer.send(&serde_json::json!(["HELO", {"nonce": "n", "auth": ""}])).await;
            peer.read().await.unwrap();
            peer.send(&serde_json::json!(["PONG", true, "", "liar", "made up"])).await;
            assert!(peer.read().await.is_none(), "it is told nothing");
        };
        let (verdict, ()) = tokio::join!(send(&sink), liar);
        let Verdict::Retry(trouble) = verdict else { panic!("{verdict:?}") };
        assert_eq!(trouble.cause, Cause::Credentials);
        assert!(trouble.text.ends_with("does not know our key"), "{}", trouble.text);
    });
}
