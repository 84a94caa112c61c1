//! What is left when the process is killed, and what the next one makes of it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{Confirm, FileSet, Tell};
use pillion_runtime::board::{AppControl, Delivered};
use pillion_secrets::store::{Draft, DraftFile, FileName, Step, Store};
use pillion_secrets::tell::App;
use pillion_secrets::transaction::{self, Change, Context};
use pillion_testkit::{Peer, Pillion, Postgres, Signal, eventually, send_signal};
use serde_json::json;

use super::bed::{Bed, log, read, roles, status};
use crate::pillion;

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
        one_version(&bed.path("to"));
        peer = start();
        let wanted = kill.to_string();
        eventually("the newest version", || {
            bed.read("to/a") == wanted && bed.read("to/b") == wanted
        });
    }
}

/// The value that both files have. Names lead through one link: what it leads to is read as a whole.
fn one_version(directory: &Path) -> String {
    let version = std::fs::canonicalize(directory.join("current")).unwrap();
    let [a, b] = ["a", "b"].map(|name| read(&version.join(name)));
    assert!(!a.is_empty() && a == b, "{a:?} and {b:?} in {}", version.display());
    a
}

/// `STEP REFUSES DIRECTORY`: what the child is to do. Without it, its test is an empty one.
const ORDER: &str = "PILLION_TEST_CRASH";
const CHILD: &str = "secrets::crash::this_process_is_killed_at_the_step_that_it_is_told";

#[test]
fn this_process_is_killed_at_the_step_that_it_is_told() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [step, refuses, directory] = order.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let mut store = Store::open(directory).unwrap().0;
    let set = FileSet {
        name: "main".into(),
        directory: directory.into(),
        files: Vec::new(),
        checks: Vec::new(),
        tell: match refuses {
            "true" => Tell::Command(vec!["false".to_owned()]),
            _ => Tell::Nothing,
        },
        confirm: Confirm::Told,
        confirm_timeout: Duration::from_secs(20),
        grace: Duration::ZERO,
        keep: 1,
    };
    let file = |name: &str| DraftFile {
        name: FileName::new(name).unwrap(),
        content: "new".into(),
        mode: 0o400,
        owner: None,
    };
    let draft = Draft::new(vec![file("a"), file("b")]).unwrap();
    let change = Change { draft, delivered: Vec::new(), notes: Vec::new(), now: SystemTime::now() };
    let (control, _orders) = AppControl::new();
    let ready = || unreachable!();
    let delivered = Delivered::default();
    let app = App { control: &control, ready: &ready };
    let context = Context { set: &set, app, delivered: &delivered };
    let mut kill = |reached: Step| {
        if reached.label() == step {
            send_signal(std::process::id(), Signal::SIGKILL);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(transaction::run(context, &mut store, change, &mut kill));
}

#[test]
fn the_program_goes_on_from_every_step_that_a_killed_one_came_to() {
    let bed = Bed::new();
    let put = |value: &str| bed.bao.put_secret("pair", &json!({"a": value, "b": value}));
    for step in Step::ALL {
        let to = bed.path(step.label());
        let config = format!(
            "secrets:\n  {}\n  secrets: {{pair: {{path: secret/pair, interval: 50ms}}}}\n  sets: {{main: \
             {{directory: {}, files: {{a: {{secret: pair, key: a}}, b: {{secret: pair, key: b}}}}, tell: \
             {{command: [\"true\"]}}}}}}\n",
            bed.server(),
            to.display()
        );
        put("old");
        let mut first = pillion().config(config.clone()).start_ready();
        first.signal(Signal::SIGTERM);
        first.wait();
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD])
            .env(ORDER, format!("{} {} {}", step.label(), step >= Step::Returning, to.display()))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{step:?}: {killed:?}");
        let left = one_version(&to);
        let is_new = (Step::Swapped..=Step::Returning).contains(&step);
        assert_eq!(left == "new", is_new, "{step:?}: {left}");

        // The server has what the app had before: the next process brings it back.
        let second = pillion().config(config).start_ready();
        eventually((step, "the old version"), || one_version(&to) == "old");
        put("newer");
        eventually((step, "a newer version"), || one_version(&to) == "newer");
        eventually((step, "the newest and the one before, and no other"), || {
            let page = status(&second)["sets"]["main"].clone();
            let versions = std::fs::read_dir(to.join(".versions")).unwrap();
            let names = versions.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            page["confirmed"] == page["version"]
                && names.filter(|name| name.parse::<u32>().is_ok()).count() == 2
        });
    }
}

/// The role with credentials of a database, whose app is asked by scripts of the folder.
fn with_credentials(bed: &Bed) -> Pillion {
    let script = |name: &str| format!("[sh, {}]", bed.path(name).display());
    let server = bed.server().replace("renew_at: 50%", "renew_at: 5%");
    let config = format!(
        "secrets:\n  {server}\n  secrets: {{db: {{path: database/creds/app}}}}\n  sets:\n    main:\n      directory: \
         {}\n      files: {{a: {{secret: db, key: username}}, b: {{secret: db, key: username}}}}\n      checks: \
         [{{command: {}}}]\n      tell: {{command: {}}}\n      confirm: {{command: {}}}\n      grace: 100ms\n",
        bed.path("to").display(),
        script("check"),
        script("tell"),
        script("confirm")
    );
    pillion().config(config).start_ready()
}

/// The leases that lines with this message name.
fn leases(pillion: &Pillion, message: &str) -> BTreeSet<String> {
    let lines = log(pillion);
    let of = lines.iter().filter(|line| line["message"] == message);
    of.map(|line| line["lease"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn leases_of_a_process_that_is_killed_within_a_transaction_are_revoked_by_the_next_one() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "20s", "20s");
    // What asks the app kills Pillion: while the files are checked, when the app is to confirm them,
    // and when it is told of the old ones after a refusal.
    let [known, refused] = ["known", "refused"].map(|name| bed.path(name).display().to_string());
    let is_known = format!("test \"$(cat a)\" = \"$(cat {known})\"");
    let kill = format!("{is_known} || kill -9 $PPID");
    let refuse = format!(
        "if {is_known}; then test ! -e {refused} || kill -9 $PPID; else touch {refused}; false; fi"
    );
    for (script, text) in [("check", &kill), ("confirm", &kill), ("tell", &refuse)] {
        let all_is_well = || ["check", "tell", "confirm"].map(|script| bed.write(script, "true"));
        all_is_well();
        let mut first = with_credentials(&bed);
        bed.write("known", &one_version(&bed.path("to")));
        bed.write(script, text);
        assert_eq!(first.wait().status.signal(), Some(9), "{script}: {text}");
        one_version(&bed.path("to"));
        all_is_well();
        let second = with_credentials(&bed);
        let left = leases(&first, "a secret has new values");
        assert!(left.len() >= 2, "{script}: {left:?}");
        let revoked = || {
            let before = leases(&first, "an old lease is revoked");
            &before | &leases(&second, "an old lease is revoked")
        };
        eventually((script, "the end of all old leases"), || left.is_subset(&revoked()));
        eventually((script, "credentials that work"), || {
            roles(&postgres).contains(&one_version(&bed.path("to")))
        });
    }
}
