//! Dynamic credentials that rotate under load.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pillion_testkit::{OpenBao, Postgres, Signal, eventually};

use super::bed::{Bed, roles};
use crate::pillion;

/// How long the app works. Credentials are replaced after one to two seconds, and live for so long
/// that a machine with much else to do is in time.
const LOAD: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_millis(500);

/// Configuration of a set with name and password of the database, which `tell` may refuse.
fn config(bed: &Bed, tell: &str) -> String {
    format!(
        "secrets:\n  {}\n  secrets: {{db: {{path: database/creds/app}}}}\n  sets:\n    db:\n      \
         directory: {}\n      files: {{dsn: {{text: \"{{{{ secret('db').username }}}} {{{{ \
         secret('db').password }}}}\"}}}}\n      grace: {}ms\n      {tell}\n",
        bed.server(),
        bed.path("to").display(),
        GRACE.as_millis()
    )
}

/// Opens one connection after another with what the file says, as an app with a pool does, and
/// counts those that are refused. An app that is slower than the grace time, as on a machine with much
/// else to do, has itself to blame.
fn work(file: &Path, postgres: &Postgres, until: &AtomicBool) -> (usize, Vec<String>) {
    let (mut queries, mut refused) = (0, Vec::new());
    while !until.load(Ordering::SeqCst) {
        let (text, began) = (super::bed::read(file), Instant::now());
        let (name, password) = text.split_once(' ').unwrap();
        match postgres.sql_as(&postgres.dsn_of(name, password), "SELECT 1") {
            Ok(_) => queries += 1,
            Err(_) if began.elapsed() > GRACE && super::bed::read(file) != text => {}
            Err(error) => refused.push(error),
        }
    }
    (queries, refused)
}

#[test]
fn credentials_rotate_under_load_without_a_refusal_and_none_outlives_its_grace() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "12s", "12s");
    let config = config(&bed, "").replace("renew_at: 50%", "renew_at: 10%");
    let pillion = pillion().config(config).start_ready();
    let (over, rotations) = (AtomicBool::new(false), AtomicUsize::new(0));
    let to = bed.path("to/dsn");
    let results = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| work(&to, &postgres, &over))).collect();
        let began = Instant::now();
        let mut last = bed.read("to/dsn");
        while began.elapsed() < LOAD {
            let now = bed.read("to/dsn");
            if now != last {
                rotations.fetch_add(1, Ordering::SeqCst);
                last = now;
            }
            // Current, in its grace time, and about to be tried.
            let roles = roles(&postgres);
            assert!(roles.len() <= 3, "{roles:?}");
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::SeqCst);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (queries, refused) in results {
        assert!(queries > 10 && refused.is_empty(), "{queries} queries; {refused:?}");
    }
    let rotations = rotations.into_inner();
    assert!(rotations >= 3, "{rotations}");
    eventually("the end of all old credentials", || roles(&postgres).len() == 1);
    assert!(
        pillion.metric("pillion_secrets_transactions_total{set=\"db\",outcome=\"settled\"}") >= 3.0
    );
}

#[test]
fn leases_that_a_killed_process_has_left_are_revoked_by_the_next_one() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    let config = config(&bed, "");
    let first = pillion().config(config.clone()).start_ready();
    let left = roles(&postgres);
    assert_eq!(left.len(), 1);
    // Dropping kills it.
    drop(first);
    let second = pillion().config(config).start_ready();
    eventually("the end of the old credentials", || {
        let roles = roles(&postgres);
        roles.len() == 1 && roles != left
    });
    assert!(second.stderr.text().contains("a lease of the last process is taken over"));
}

#[test]
fn an_app_that_refuses_every_third_rotation_and_a_server_that_dies_lose_nothing() {
    let (mut bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "6s", "8s");
    let count = bed.path("count");
    // Told of each version; says no to each third that is new.
    let script = bed.path("tell.sh");
    std::fs::write(
        &script,
        format!("echo >> {0}; test $(( $(wc -l < {0}) % 3 )) != 0\n", count.display()),
    )
    .unwrap();
    let tell = format!("tell: {{command: [sh, \"{}\"]}}", script.display());
    let pillion = pillion().config(config(&bed, &tell)).start_ready();
    let over = AtomicBool::new(false);
    let to = bed.path("to/dsn");
    let results = thread::scope(|scope| {
        let worker = scope.spawn(|| work(&to, &postgres, &over));
        let returned = "pillion_secrets_transactions_total{set=\"db\",outcome=\"returned\"}";
        for outage in [kill as fn(&mut OpenBao), seal] {
            outage(&mut bed.bao);
            let before = pillion.metric(returned);
            eventually("a refusal", || pillion.metric(returned) > before);
        }
        over.store(true, Ordering::SeqCst);
        worker.join().unwrap()
    });
    let (queries, refused) = results;
    assert!(queries > 10 && refused.is_empty(), "{queries} queries; {refused:?}");
    assert!(pillion.stderr.text().contains("failed and version"), "it says what came back");
}

/// It is gone for less than a lease lives.
fn kill(bao: &mut OpenBao) {
    bao.peer.end(Signal::SIGKILL);
    bao.restart();
    bao.unseal();
}

fn seal(bao: &mut OpenBao) {
    bao.seal();
    bao.unseal();
}
