//! HAProxy as a reader: the real proxy, and origins that record what comes out of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::conversation::Message;
use crate::reference;

/// How many conversations run at the same time, each through a socket and an origin of its own.
const LANES: usize = 16;

/// A HAProxy of this test's own, ended on drop.
pub(crate) struct HaProxy {
    child: Child,
    directory: TempDir,
    lanes: Vec<Lane>,
}

/// One way through HAProxy: what comes out of it was sent on the one connection in use.
#[derive(Clone)]
struct Lane {
    front: PathBuf,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // It may be gone already; nothing else can be done about it here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl HaProxy {
    /// Starts the origins and HAProxy in front of them, and waits until it takes connections.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let lanes = (0..LANES).map(|lane| Lane::open(directory.path(), lane)).collect();
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(write_configuration(directory.path()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy does not start; get it by `cargo xtask setup`");
        let haproxy = Self { child, directory, lanes };
        timeout(Duration::from_secs(10), haproxy.ready()).await.expect("HAProxy within 10 s");
        haproxy
    }

    async fn ready(&self) {
        let last = self.directory.path().join(format!("front{}", LANES - 1));
        while UnixStream::connect(&last).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// For each of `raws`, sent on one connection: the requests that reached an origin whole. A
    /// conversation that has been silent for `quiet` has nothing more to say.
    pub(crate) async fn read_all(&self, raws: Vec<Vec<u8>>, quiet: Duration) -> Vec<Vec<Message>> {
        let count = raws.len();
        let queue = Arc::new(Mutex::new(raws.into_iter().enumerate().collect::<Vec<_>>()));
        let mut workers = JoinSet::new();
        for lane in self.lanes.clone() {
            let queue = Arc::clone(&queue);
            workers.spawn(async move {
                let mut read = Vec::new();
                loop {
                    let next = queue.lock().expect("no panic while queued").pop();
                    let Some((at, raw)) = next else { return read };
                    read.push((at, lane.read(&raw, quiet).await));
                }
            });
        }
        let mut read: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
        assert_eq!(read.len(), count);
        read.sort_unstable_by_key(|(at, _)| *at);
        read.into_iter().map(|(_, messages)| messages).collect()
    }
}

impl Lane {
    fn open(directory: &Path, lane: usize) -> Self {
        let origin = directory.join(format!("origin{lane}"));
        let origin = UnixListener::bind(origin).expect("the socket of an origin");
        let messages = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve_origin(origin, Arc::clone(&messages)));
        Self { front: directory.join(format!("front{lane}")), messages }
    }

    async fn read(&self, raw: &[u8], quiet: Duration) -> Vec<Message> {
        let mut stream = UnixStream::connect(&self.front).await.expect("HAProxy listens");
        // HAProxy closes early when it refuses. The end of what is sent is not shown to it before
        // it falls silent: it would drop what it has not looked at yet.
        drop(stream.write_all(raw).await);
        let mut answers = [0; 4096];
        while let Ok(Ok(1..)) = timeout(quiet, stream.read(&mut answers)).await {}
        // An answer comes after its record, so all that was to be recorded is.
        std::mem::take(&mut self.messages.lock().expect("no panic while recording"))
    }
}

fn write_configuration(directory: &Path) -> PathBuf {
    let at = directory.display();
    let path = directory.join("haproxy.cfg");
    let mut text =
        "global\n  nbthread 1\n  maxconn 256\ndefaults\n  mode http\n  http-reuse never\n  \
                    timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
            .to_owned();
    for lane in 0..LANES {
        text += &format!("listen lane{lane}\n  bind unix@{at}/front{lane}\n");
        text += &format!("  server origin unix@{at}/origin{lane}\n");
    }
    std::fs::write(&path, text).expect("write the configuration of HAProxy");
    path
}

async fn serve_origin(listener: UnixListener, messages: Arc<Mutex<Vec<Message>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_connection(stream, Arc::clone(&messages)));
    }
}

/// Records each whole request, and answers it: not with a 2xx, so that a CONNECT opens no tunnel.
async fn serve_connection(mut stream: UnixStream, messages: Arc<Mutex<Vec<Message>>>) {
    let mut received = Vec::new();
    loop {
        while let Some((message, len)) = reference::request(&received) {
            received.drain(..len);
            messages.lock().expect("no panic while recording").push(message);
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut received).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
