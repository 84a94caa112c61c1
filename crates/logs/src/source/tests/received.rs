//! A source that runs, and what came from it.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use pillion_model::logs::{Encoding, FullPolicy, Listen, ListenProtocol};
use pillion_model::settings::Address;
use pillion_testkit::PATIENCE;
use tokio::task::{LocalSet, spawn_blocking};
use tokio::time::timeout;

use super::super::{Chunk, Content, Event, Framing, Source};
use crate::budget::Budget;

pub(super) const FRAMING: Framing = Framing { encoding: Encoding::Utf8, line_bytes: 100 };

pub(super) fn listen(protocol: ListenProtocol) -> Listen {
    let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
    Listen { protocol, address, connections: 8, full: FullPolicy::Block }
}

pub(super) fn on_unix(protocol: ListenProtocol, path: &Path) -> Listen {
    Listen { address: Address::Unix(path.to_owned()), ..listen(protocol) }
}

pub(super) fn start(listen: &Listen) -> Source {
    Source::listen(listen, FRAMING, &Budget::new(1 << 20)).unwrap()
}

/// Where a source listens, for clients.
pub(super) fn at(source: &Source) -> String {
    source.address().unwrap().to_string()
}

/// Runs a test as the role would run.
pub(super) async fn local<T>(test: impl Future<Output = T>) -> T {
    let test = Box::pin(timeout(PATIENCE * 2, test));
    LocalSet::new().run_until(async { test.await.unwrap() }).await
}

/// Runs a client that blocks.
pub(super) async fn client<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(client).await.unwrap()
}

/// Runs a program, and says what it wrote.
pub(super) async fn command(program: &str, args: &[&str]) -> String {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let program = program.to_owned();
    client(move || {
        let output = std::process::Command::new(&program).args(&args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
    .await
}

pub(super) async fn chunk(source: &Source) -> Chunk {
    loop {
        match timeout(PATIENCE, source.next()).await.expect("a chunk") {
            Some(Event::Chunk(chunk)) => return *chunk,
            Some(Event::Ended(_)) => {}
            None => panic!("the source has ended"),
        }
    }
}

/// The next texts, so many; each chunk is done with.
pub(super) async fn texts(source: &Source, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let chunk = chunk(source).await;
        found.extend(texts_of(&chunk));
        chunk.receipt.done();
    }
    found
}

pub(super) fn texts_of(chunk: &Chunk) -> Vec<String> {
    let Content::Texts(texts) = &chunk.content else { panic!("{chunk:?}") };
    texts.iter().map(|text| String::from_utf8_lossy(text.bytes).into_owned()).collect()
}

/// All that is left, after a stop: texts.
pub(super) async fn rest(source: &Source) -> Vec<String> {
    source.stop();
    let mut found = Vec::new();
    while let Some(event) = timeout(PATIENCE, source.next()).await.expect("the end") {
        if let Event::Chunk(chunk) = event {
            found.extend(texts_of(&chunk));
            chunk.receipt.done();
        }
    }
    found
}

/// Waits for a condition of what runs on this thread.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}
