//! Files, pipes and time: what a sink does on this machine.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pillion_logs::deliver::{CircuitState, Deliverer, End};
use pillion_logs::sink::{Cause, Sink};
use pillion_model::logs::{Output, Retry, Schema, SyslogOutput, SyslogTransport};
use tokio::time::Instant;

use crate::batches::{Batches, RETRY, batches_of, deliver_all, delivered, lines, on_one_thread};
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
        assert!(Command::new("umount").arg(place).status().unwrap().success());
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
