//! What is left when the process is killed.

use std::process::Command;
use std::time::Duration;

use pillion_testkit::{Peer, eventually};
use serde_json::json;

use super::bed::Bed;

/// How often it is killed, each time a little later within its work.
const KILLS: u32 = 20;

#[test]
fn whenever_it_is_killed_the_files_are_of_one_version() {
    let bed = Bed::new();
    let put = |value: u32| bed.bao.put_secret("pair", &json!({"a": value, "b": value}));
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(["secrets", "sync", "--server", &bed.bao.url(), "--token-file"]);
        command.arg(bed.path("token")).arg("--to").arg(bed.path("to"));
        command.args(["--secret", "secret/pair#a=a", "--secret", "secret/pair#b=b"]);
        command.args(["--interval", "20ms", "--exec", "true"]);
        Peer::spawn(command)
    };
    put(0);
    let mut peer = start();
    eventually("the first delivery", || bed.read("to/b") == "0");
    for kill in 1..=KILLS {
        put(kill);
        // Not a wait for something: any moment will do, and each round has another one.
        std::thread::sleep(Duration::from_millis(u64::from(kill * 7 % 100)));
        peer.kill();
        // Names lead through one link: what it leads to is read as a whole.
        let version = std::fs::canonicalize(bed.path("to/current")).unwrap();
        let [a, b] = ["a", "b"].map(|name| super::bed::read(&version.join(name)));
        assert!(!a.is_empty() && a == b, "{a:?} and {b:?} after kill {kill}");
        peer = start();
        let wanted = kill.to_string();
        eventually("the newest version", || {
            bed.read("to/a") == wanted && bed.read("to/b") == wanted
        });
    }
}
