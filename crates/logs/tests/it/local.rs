//! Files, sockets, certificates and time: what a sink does on this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pillion_logs::deliver::{CircuitState, Deliverer, End};
use pillion_logs::sink::{Cause, Sink};
use pillion_model::logs::{
    ForwardOutput, ForwardTls, HttpOutput, Output, Retry, Schema, SyslogOutput, SyslogTransport,
};
use pillion_testkit::{Authority, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;

use crate::batches::{
    Batches, RETRY, batches_of, deliver_all, delivered, forward_output, http_output, lines,
    on_one_thread,
};
use crate::patience::until;

fn to_file(path: &Path) -> Output {
    Output::File(path.to_owned(), Schema::Otel)
}

/// The messages of the lines of a file, every one of which is whole.
fn bodies(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let body = |line| {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        document["body"].as_str().unwrap().to_owned()
    };
    text.lines().map(body).collect()
}

#[test]
fn a_file_has_every_record_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.log");
    let lines = lines(1000);
    deliver_all(&to_file(&path), batches_of(&to_file(&path), &lines, 30));
    assert_eq!(bodies(&path), lines);
}

/// A datagram socket, for it fails at once and needs no time of its own.
fn to_socket(path: &Path) -> Output {
    let transport = SyslogTransport::Unix(path.to_owned());
    Output::Syslog(SyslogOutput { transport, facility: 16 })
}

/// Virtual time: research 3.1 (19), where others give up after 300 s.
#[test]
fn a_sink_that_is_away_for_hours_loses_nothing() {
    const AWAY: Duration = Duration::from_secs(4 * 3600);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sock");
    let output = to_socket(&path);
    let retry = Retry { min: Duration::from_secs(1), max: Duration::from_secs(60), give_up: None };
    let socket = on_one_thread(async {
        tokio::time::pause();
        let began = Instant::now();
        let deliverer = Deliverer::new("test".into(), Sink::new(&output).unwrap(), retry, 1);
        let supply = Batches::new(batches_of(&output, &lines(5), 1));
        let away = async {
            tokio::time::sleep(AWAY).await;
            let status = deliverer.status();
            assert_eq!((status.in_flight, status.delivered_records), (1, 0));
            assert!(status.last_error.unwrap().contains("No such file"));
            assert!(status.oldest.is_some());
            assert_ne!(status.circuit, CircuitState::Closed);
            UnixDatagram::bind(&path).unwrap()
        };
        let (end, socket) = tokio::join!(deliverer.run(supply), away);
        assert_eq!(end, End::Drained);
        let took = began.elapsed();
        assert!(took < AWAY + retry.max + Duration::from_secs(1), "noticed after {took:?}");
        let status = deliverer.status();
        let tries = status.retries.iter().find(|(cause, _)| *cause == Cause::Connect).unwrap().1;
        // Half a minute apart on average, after a quick start.
        assert!((400..600).contains(&tries), "{tries} tries");
        assert_eq!((status.circuit, status.last_error), (CircuitState::Closed, None));
        socket
    });
    let mut message = [0; 1000];
    for line in lines(5) {
        let length = socket.recv(&mut message).unwrap();
        assert!(message[..length].ends_with(line.as_bytes()));
    }
}

#[test]
fn the_time_after_which_a_batch_is_given_up_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let output = to_socket(&folder.path().join("log.sock"));
    let limit = Duration::from_secs(3600);
    let retry =
        Retry { min: Duration::from_secs(1), max: Duration::from_secs(60), give_up: Some(limit) };
    on_one_thread(async {
        tokio::time::pause();
        let began = Instant::now();
        let (end, outcome, _) = delivered(&output, batches_of(&output, &lines(4), 4), retry).await;
        assert_eq!((end, outcome.dead.len()), (End::Drained, 4));
        let took = began.elapsed();
        assert!(took <= limit && took > limit - retry.max, "{took:?}");
    });
}

/// In a namespace of its own, so that nobody else sees what is mounted.
fn with_small_disk(work: impl FnOnce(&Path) + Send + 'static) {
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("this test runs as root");
        let folder = tempfile::tempdir().unwrap();
        let mount = |arguments: &[&str]| {
            let status = Command::new("mount").args(arguments).status().unwrap();
            assert!(status.success(), "mount {arguments:?}");
        };
        mount(&["--make-rprivate", "/"]);
        let place = folder.path().to_str().unwrap();
        mount(&["-t", "tmpfs", "-o", "size=64k", "none", place]);
        work(folder.path());
        // The thread that wrote may be about to close its file.
        assert!(Command::new("umount").args(["--lazy", place]).status().unwrap().success());
    })
    .join()
    .unwrap();
}

#[test]
fn a_full_disk_is_waited_for_and_leaves_no_torn_line() {
    with_small_disk(|folder| {
        let (path, filler) = (folder.join("out.log"), folder.join("filler"));
        std::fs::write(&filler, vec![0; 40 << 10]).unwrap();
        let output = to_file(&path);
        let lines = lines(200);
        on_one_thread(async {
            let deliverer = Deliverer::new("test".into(), Sink::new(&output).unwrap(), RETRY, 1);
            let supply = Batches::new(batches_of(&output, &lines, 200));
            let making_room = async {
                until(|| {
                    let status = deliverer.status();
                    status.retries.contains(&(Cause::Local, 3)) && status.delivered_records > 0
                })
                .await;
                let arrived = deliverer.status().delivered_records;
                assert_eq!(bodies(&path).len() as u64, arrived);
                std::fs::remove_file(&filler).unwrap();
            };
            let (end, ()) = tokio::join!(deliverer.run(supply), making_room);
            assert_eq!(end, End::Drained);
        });
        assert_eq!(bodies(&path), lines);
    });
}

/// A receiver of syslog over TCP; `serve` is given each connection and its number.
fn receiver(serve: impl Fn(TcpStream, usize) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(stream.unwrap(), number);
        }
    });
    address
}

/// The messages of a connection, by their octet counts.
fn counted(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        let (message, rest) = bytes[space + 1..].split_at(length);
        messages.push(str::from_utf8(message).unwrap().to_owned());
        bytes = rest;
    }
    messages
}

#[test]
fn what_a_syslog_receiver_may_not_have_read_is_sent_again() {
    let (sender, received) = std::sync::mpsc::channel();
    let address = receiver(move |mut stream, number| match number {
        // It goes away in the middle, and the second time after it has all but not read it.
        0 => {
            let mut start = [0; 10];
            stream.read_exact(&mut start).unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        1 => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        _ => {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            sender.send(counted(&bytes)).unwrap();
        }
    });
    let transport = SyslogTransport::Tcp(address.to_string().into());
    let output = Output::Syslog(SyslogOutput { transport, facility: 1 });
    let lines = lines(5000);
    let status = deliver_all(&output, batches_of(&output, &lines, 5000));
    let failed: u64 = status.retries.iter().map(|(_, count)| count).sum();
    assert_eq!(failed, 2, "{status:?}");
    let messages = received.recv().unwrap();
    assert_eq!(messages.len(), lines.len());
    for (message, line) in messages.iter().zip(&lines) {
        assert!(message.starts_with("<14>1 20") && message.ends_with(line), "{message}");
    }
}

#[test]
fn a_message_that_is_too_long_for_a_datagram_is_dead_and_the_others_arrive() {
    let receiver = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let transport = SyslogTransport::Udp(receiver.local_addr().unwrap().to_string().into());
    let output = Output::Syslog(SyslogOutput { transport, facility: 16 });
    let bodies = ["first;".to_owned(), "x".repeat(70_000), "last;".to_owned()];
    let work = delivered(&output, batches_of(&output, &bodies, 3), RETRY);
    let (end, outcome, status) = on_one_thread(work);
    assert_eq!((end, outcome.dead.len(), status.delivered_records), (End::Drained, 1, 2));
    assert!(outcome.dead[0].1.starts_with("too long for a datagram"));
    let mut message = [0; 1000];
    for body in ["first;", "last;"] {
        let length = receiver.recv(&mut message).unwrap();
        assert!(message[..length].ends_with(body.as_bytes()));
    }
}

/// The answer to a request that is whole, by HTTP.
fn http_answer(request: &[u8]) -> Option<Vec<u8>> {
    let is_whole = String::from_utf8_lossy(request).contains("line 0;");
    is_whole.then(|| b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec())
}

/// The answer to a message that is whole, by the forward protocol: `{"ack": CHUNK}`, the chunk being
/// 24 characters.
fn forward_answer(message: &[u8]) -> Option<Vec<u8>> {
    const CHUNK: &[u8] = b"\xa5chunk\xb8";
    let at = message.windows(CHUNK.len()).position(|window| window == CHUNK)? + CHUNK.len();
    let chunk = message.get(at..at + 24)?;
    message.ends_with(b"\xa4size\x01").then(|| [b"\x81\xa3ack\xb8", chunk].concat())
}

/// Answers one request after another over TLS, on a thread of its own.
fn tls_server(
    identity: &Identity,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    receiver(move |mut stream, _| {
        let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut tls = rustls::Stream::new(&mut tls, &mut stream);
        let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
        // A client that does not trust us ends here.
        while let Ok(count @ 1..) = tls.read(&mut bytes) {
            request.extend_from_slice(&bytes[..count]);
            if let Some(answer) = answer(&request) {
                tls.write_all(&answer).unwrap();
                return;
            }
        }
    })
}

#[test]
fn the_forward_protocol_is_encrypted_where_that_is_asked_for() {
    let (known, other) = (Authority::new(), Authority::new());
    let identity = known.server("sink", Ipv4Addr::LOCALHOST.into());
    let address = tls_server(&identity, forward_answer).to_string();
    let output = |authority: &Authority| {
        Output::Forward(ForwardOutput {
            tls: Some(ForwardTls { ca: Some(authority.certificate()), identity: None }),
            ..forward_output(&address)
        })
    };
    let (known, other) = (output(&known), output(&other));
    deliver_all(&known, batches_of(&known, &lines(1), 1));
    let retry = Retry { give_up: Some(Duration::ZERO), ..RETRY };
    let work = delivered(&other, batches_of(&other, &lines(1), 1), retry);
    let (_, outcome, status) = on_one_thread(work);
    assert_eq!((outcome.dead.len(), status.delivered_records), (1, 0));
    assert!(outcome.dead[0].1.contains("certificate"), "{}", outcome.dead[0].1);
}

#[test]
fn an_authority_that_was_replaced_is_trusted_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::copy(old.certificate(), &ca).unwrap();
    let address = tls_server(&new.server("sink", Ipv4Addr::LOCALHOST.into()), http_answer);
    let http = http_output(&format!("https://{address}"));
    let output = Output::Http(HttpOutput { ca: Some(ca.clone()), ..http });
    on_one_thread(async {
        let deliverer = Deliverer::new("test".into(), Sink::new(&output).unwrap(), RETRY, 1);
        let supply = Batches::new(batches_of(&output, &lines(1), 1));
        let replacing = async {
            until(|| deliverer.status().retries.contains(&(Cause::Connect, 2))).await;
            // By renaming, as everybody does it.
            std::fs::copy(new.certificate(), folder.path().join("new.pem")).unwrap();
            std::fs::rename(folder.path().join("new.pem"), &ca).unwrap();
        };
        let (end, ()) = tokio::join!(deliverer.run(supply), replacing);
        assert_eq!(end, End::Drained);
        assert_eq!(deliverer.status().delivered_records, 1);
    });
}
