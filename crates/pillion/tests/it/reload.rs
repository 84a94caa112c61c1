//! Configuration that changes while requests flow: a good one is taken whole, a bad one not at all.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use pillion_testkit::{Origin, Pillion, Signal, anonymous_memory_kib, eventually};

use crate::{get, inbound_to, pillion};

const BAD: &str = "inbound: {lisen: 1}\n";

fn served_by(pillion: &Pillion) -> String {
    pillion.connect_inbound().send(get("/")).response().text()
}

#[test]
fn a_changed_file_is_taken_by_itself() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pillion = pillion().config(inbound_to(a.address())).start();
    assert_eq!(served_by(&pillion), "a");
    pillion.write_config(&inbound_to(b.address()));
    eventually("the new upstream serves", || served_by(&pillion) == "b");
}

#[test]
fn a_kept_alive_connection_follows_the_change() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pillion = pillion().config(inbound_to(a.address())).start();
    let mut wire = pillion.connect_inbound();
    assert_eq!(wire.send(get("/")).response().text(), "a");
    pillion.write_config(&inbound_to(b.address()));
    assert_eq!(pillion.admin.post("/reload").0, 200);
    assert_eq!(wire.send(get("/")).response().text(), "b");
}

#[test]
fn sighup_and_the_admin_interface_reload_too() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pillion = pillion().config(inbound_to(a.address())).start();
    pillion.write_config(&inbound_to(b.address()));
    assert_eq!(pillion.admin.post("/reload").0, 200);
    assert_eq!(served_by(&pillion), "b", "the answer comes when it is done");
    pillion.write_config(&inbound_to(a.address()));
    pillion.signal(Signal::SIGHUP);
    eventually("the old upstream serves again", || served_by(&pillion) == "a");
}

#[test]
fn sighup_opens_the_access_log_again() {
    let origin = Origin::saying("hello");
    let pillion = crate::in_front_of(origin.address());
    served_by(&pillion);
    pillion.logged("status", 200);
    let log = pillion.folder().join("access.log");
    std::fs::rename(&log, pillion.folder().join("access.log.1")).unwrap();
    pillion.signal(Signal::SIGHUP);
    eventually("the new file is there and written to", || {
        served_by(&pillion);
        !pillion.access_log().is_empty()
    });
}

#[test]
fn a_bad_file_changes_nothing_and_is_said_aloud() {
    let origin = Origin::saying("hello");
    let pillion = pillion().config(inbound_to(origin.address())).start();
    let bad: [(&str, &str); 5] = [
        ("an unknown key", BAD),
        ("truncated", "upstreams: {origin: {endpoints: [\"127.0."),
        ("not even text", "\0\u{1}\u{7f}"),
        ("an upstream that is not there", "inbound: {routes: [{upstream: nowhere}]}\n"),
        ("a list where a map has to be", "- 1\n- 2\n"),
    ];
    for (what, text) in bad {
        pillion.write_config(text);
        let (status, answer) = pillion.admin.post("/reload");
        assert!((400..500).contains(&status), "{what}: {status} {answer}");
        let name = pillion.config_file().display().to_string();
        assert!(answer.contains(&name), "{what}: the answer names the file: {answer}");
        assert_eq!(served_by(&pillion), "hello", "{what}");
    }
    pillion.stderr.wait_for("lisen");
    assert_eq!(pillion.admin.get("/ready").0, 200, "the last good one serves");
    pillion.write_config(&inbound_to(origin.address()));
    assert_eq!(pillion.admin.post("/reload").0, 200);
}

#[test]
fn a_file_that_is_empty_or_gone_or_unreadable_changes_nothing() {
    let origin = Origin::saying("hello");
    let pillion = pillion().config(inbound_to(origin.address())).start();
    std::fs::write(pillion.config_file(), "").unwrap();
    let (status, answer) = pillion.admin.post("/reload");
    assert!((400..500).contains(&status), "empty: {status} {answer}");
    std::fs::remove_file(pillion.config_file()).unwrap();
    let (status, answer) = pillion.admin.post("/reload");
    assert!((400..500).contains(&status), "gone: {status} {answer}");
    std::fs::create_dir(pillion.config_file()).unwrap();
    let (status, answer) = pillion.admin.post("/reload");
    assert!((400..500).contains(&status), "a folder: {status} {answer}");
    assert_eq!(served_by(&pillion), "hello");
    std::fs::remove_dir(pillion.config_file()).unwrap();
    let other = Origin::saying("other");
    pillion.write_config(&inbound_to(other.address()));
    eventually("a file that is back is taken by itself", || served_by(&pillion) == "other");
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_is_taken() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pillion = pillion().config(inbound_to(a.address())).start();
    pillion.write_config(&format!("{}workers: 2\n", inbound_to(b.address())));
    let (status, answer) = pillion.admin.post("/reload");
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("workers") && answer.contains("restart"), "{answer}");
    assert_eq!(served_by(&pillion), "b");
}

/// Puts a new version next to the old one and swaps a symlink, as Kubernetes does for ConfigMaps.
fn swap(folder: &Path, version: &str, text: &str) {
    std::fs::create_dir(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("pillion.yaml"), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn a_config_map_is_followed() {
    let origins = [Origin::saying("0"), Origin::saying("1"), Origin::saying("2")];
    let folder = tempfile::TempDir::new().unwrap();
    let text = |number: usize| {
        format!("access_log: {{output: off}}\n{}", inbound_to(origins[number].address()))
    };
    swap(folder.path(), "..v0", &text(0));
    let file = folder.path().join("pillion.yaml");
    symlink("..data/pillion.yaml", &file).unwrap();
    let pillion = pillion().config_path(&file).start();
    for number in 0..origins.len() {
        eventually("the current version serves", || served_by(&pillion) == number.to_string());
        if number + 1 < origins.len() {
            swap(folder.path(), &format!("..v{}", number + 1), &text(number + 1));
            std::fs::remove_dir_all(folder.path().join(format!("..v{number}"))).unwrap();
        }
    }
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let pillion = pillion().config(inbound_to(a.address())).start();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (pillion, over, served) = (&pillion, &over, &served);
            scope.spawn(move || {
                let mut wire = pillion.connect_inbound();
                while !over.load(Ordering::SeqCst) {
                    let text = wire.send(get("/")).response().text();
                    assert!(text == "a" || text == "b", "{text}");
                    served.fetch_add(1, Ordering::SeqCst);
                    if client % 2 == 0 {
                        // Half of the clients come anew each time.
                        wire = pillion.connect_inbound();
                    }
                }
            });
        }
        let reloads = thread::scope(|inner| inner.spawn(|| reload_often(&pillion, &a, &b)).join());
        over.store(true, Ordering::SeqCst);
        reloads.unwrap();
    });
    let served = served.into_inner();
    assert!(served > 100, "{served}");
    pillion.wait_for_metric("pillion_requests_total{code=\"200\"}", served as f64);
    assert_eq!(pillion.metric("pillion_requests_total"), served as f64);
}

/// Fifty good reloads and fifty bad ones in turn.
fn reload_often(pillion: &Pillion, a: &Origin, b: &Origin) {
    for round in 0..50 {
        let origin = if round % 2 == 0 { b } else { a };
        pillion.write_config(&inbound_to(origin.address()));
        assert_eq!(pillion.admin.post("/reload").0, 200, "round {round}");
        pillion.write_config(BAD);
        assert_ne!(pillion.admin.post("/reload").0, 200, "round {round}");
    }
}

#[test]
fn what_only_the_reading_of_a_large_file_needed_is_given_back() {
    const UPSTREAMS: u64 = 1_000;
    /// 15,000 KiB and more stay where nothing is given back.
    const MOST_KIB: u64 = 10 * UPSTREAMS;
    let large = |streams: u32| {
        let mut text = format!("limits: {{h2_streams: {streams}}}\noutbound:\n  routes:\n");
        for at in 0..UPSTREAMS {
            text += &format!("    - {{match: {{path: /{at}}}, upstream: spare-{at}}}\n");
        }
        text += "upstreams:\n";
        for at in 0..UPSTREAMS {
            text += &format!("  spare-{at}: {{endpoints: [\"127.0.0.1:1\"]}}\n");
        }
        text
    };
    let (small, pillion) = (pillion().start(), pillion().config(large(100)).start());
    let own = anonymous_memory_kib(small.pid());
    let is_small = || anonymous_memory_kib(pillion.pid()) < own + MOST_KIB;
    eventually("what the start has read is given back", is_small);
    for streams in 101..104 {
        pillion.write_config(&large(streams));
        assert_eq!(pillion.admin.post("/reload").0, 200);
        eventually("what the reload has read is given back", is_small);
    }
}
