//! An app under load, through everything that can happen to a server.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use pillion_testkit::{
    OpenBao, Peer, Pillion, Postgres, Relay, Signal, eventually, eventually_some, send_signal,
};
use serde_json::Value;

use super::bed::{Bed, log, roles};
use crate::{peer, pillion};

/// How long it goes on at least, in seconds; without it, everything happens once. For a run by hand:
/// `PILLION_TEST_SECONDS=600 PILLION_TEST_SEED=7 cargo test -p pillion --test it storm`.
const SECONDS: &str = "PILLION_TEST_SECONDS";
/// What chance begins with.
const SEED: &str = "PILLION_TEST_SEED";
/// Credentials live for so long. They are replaced after one to three seconds, so that what is left
/// is longer than the server is away.
const LIFE: &str = "20s";
const GRACE: Duration = Duration::from_millis(500);

const SETTLED: &str = "pillion_secrets_transactions_total{set=\"db\",outcome=\"settled\"}";

/// What happens to the server, for a time.
const TROUBLES: [(&str, Trouble); 7] = [
    ("killed", killed),
    ("sealed", sealed),
    ("stopped", stopped),
    ("slow", slow),
    ("500", |_, relay, time| failing(relay, "500 Oops", time)),
    ("503", |_, relay, time| failing(relay, "503 Unavailable", time)),
    ("429", |_, relay, time| failing(relay, "429 Slow\r\nretry-after: 1", time)),
];

type Trouble = fn(&mut OpenBao, &Relay, Duration);

fn killed(bao: &mut OpenBao, _: &Relay, time: Duration) {
    bao.peer.end(Signal::SIGKILL);
    sleep(time);
    bao.restart();
    bao.unseal();
}

fn sealed(bao: &mut OpenBao, _: &Relay, time: Duration) {
    bao.seal();
    sleep(time);
    bao.unseal();
}

fn stopped(bao: &mut OpenBao, _: &Relay, time: Duration) {
    send_signal(bao.peer.pid(), Signal::SIGSTOP);
    sleep(time);
    send_signal(bao.peer.pid(), Signal::SIGCONT);
}

fn slow(_: &mut OpenBao, relay: &Relay, time: Duration) {
    relay.delay("", time);
    sleep(time);
    relay.pass();
}

fn failing(relay: &Relay, head: &str, time: Duration) {
    relay.answer("", head);
    sleep(time);
    relay.pass();
}

/// Numbers that look like chance and are the same for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// All troubles, in any order.
    fn round(&mut self) -> Vec<(&'static str, Trouble)> {
        let mut left = TROUBLES.to_vec();
        let mut round = Vec::new();
        while !left.is_empty() {
            let next = self.below(left.len());
            round.push(left.swap_remove(next));
        }
        round
    }
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap())
}

fn config(bed: &Bed, relay: &Relay, app: &str) -> String {
    let server = bed.server_at(&relay.url()).replace("renew_at: 50%", "renew_at: 5%");
    format!(
        "secrets:\n  {server}\n  secrets: {{db: {{path: database/creds/app}}}}\n  sets:\n    db:\n      \
         directory: {}\n      files: {{dsn: {{text: \"{{{{ secret('db').username }}}} {{{{ \
         secret('db').password }}}}\"}}}}\n      grace: {}ms\n      tell: {{url: \"{app}\"}}\n",
        bed.path("to").display(),
        GRACE.as_millis()
    )
}

/// What the app did, such as `accept NAME`.
fn deeds(app: &Peer) -> Vec<(String, String)> {
    let text = app.stdout.text();
    let deeds = text.lines().filter_map(|line| line.split_once(' '));
    deeds.map(|(deed, what)| (deed.to_owned(), what.to_owned())).collect()
}

/// The leases that lines with this message name.
fn leases(lines: &[Value], message: &str) -> Vec<String> {
    let of = lines.iter().filter(|line| line["message"] == message);
    of.map(|line| line["lease"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the server does its work again, and the database has no credentials that the app was
/// ever told of but those that it uses. Returns how long the old ones took to go.
fn calm(pillion: &Pillion, app: &Peer, postgres: &Postgres) -> Duration {
    let before = pillion.metric(SETTLED);
    eventually("a rotation after the trouble", || pillion.metric(SETTLED) > before);
    let began = Instant::now();
    eventually("the end of old credentials", || {
        let deeds = deeds(app);
        let known: BTreeSet<_> = deeds.iter().map(|(_, name)| name.as_str()).collect();
        roles(postgres).iter().filter(|name| known.contains(name.as_str())).count() <= 1
    });
    began.elapsed()
}

/// Every transaction of the log is one that the app knows of, in the same order, and the other way
/// round; and every lease but the last was revoked, once.
fn assert_log_is_exact(lines: &[Value], deeds: &[(String, String)]) {
    let outcome = |line: &Value| match (line["set"] == "db", line["outcome"].as_str()) {
        (true, Some(outcome)) => Some(outcome.to_owned()),
        (true, None) if line["version"].is_string() => Some("settled".to_owned()),
        _ => None,
    };
    let said: Vec<_> = lines.iter().filter_map(outcome).collect();
    let done: Vec<_> = deeds
        .iter()
        .filter_map(|(deed, _)| match deed.as_str() {
            "accept" => Some("settled"),
            "refuse" => Some("returned"),
            _ => None,
        })
        .collect();
    assert_eq!(said, done);
    let backs = deeds.iter().filter(|(deed, _)| deed == "back").count();
    assert_eq!(backs, done.iter().filter(|outcome| **outcome == "returned").count());
    let mut had = leases(lines, "a secret has new values");
    let mut revoked = leases(lines, "an old lease is revoked");
    // In use, in its grace time, refused, and about to be tried.
    let kept: Vec<_> = had.split_off(had.len() - 4);
    revoked.retain(|lease| !kept.contains(lease));
    had.sort();
    revoked.sort();
    assert_eq!(had, revoked);
}

#[test]
fn whatever_happens_to_the_server_the_app_sees_no_refusal_and_the_log_says_what_happened() {
    let (mut bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, LIFE, LIFE);
    let relay = Relay::before(bed.bao.address());
    let to = bed.path("to/dsn").display().to_string();
    let (host, port) = (postgres.address().ip().to_string(), postgres.address().port().to_string());
    let (mut app, address) = Peer::python(&peer("pool.py"), &[&to, &host, &port]);
    let url = format!("http://{address}/");
    let mut pillion = pillion().config(config(&bed, &relay, &url)).start_ready();
    let least = Duration::from_secs(number(SECONDS).unwrap_or(0));
    let mut chance = Chance(number(SEED).unwrap_or(1).max(1));
    let (began, mut rounds, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while rounds == 0 || began.elapsed() < least {
        for (_, trouble) in chance.round() {
            let time = Duration::from_millis(200 + chance.below(800) as u64);
            trouble(&mut bed.bao, &relay, time);
            slowest = slowest.max(calm(&pillion, &app, &postgres));
        }
        rounds += 1;
    }
    // The last transaction is over, and no other begins.
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(0));
    app.end(Signal::SIGTERM);
    let (deeds, lines) = (deeds(&app), log(&pillion));
    let of = |name: &str| deeds.iter().filter(|(deed, _)| deed == name).collect::<Vec<_>>();
    let queries: usize = eventually_some("the app's last word", || {
        of("queries").first().and_then(|(_, number)| number.parse().ok())
    });
    let summary = format!(
        "{rounds} rounds in {:?}: {queries} queries, {} credentials accepted, {} refused, old ones gone \
         after {slowest:?} at most",
        began.elapsed(),
        of("accept").len(),
        of("refuse").len(),
    );
    assert!(of("failed").is_empty(), "{summary}: {:?}", of("failed"));
    assert!(queries > 100 && of("refuse").len() >= 2 * rounds, "{summary}");
    // A lease would end by itself much later.
    assert!(slowest < Duration::from_secs(10), "{summary}");
    assert_log_is_exact(&lines, &deeds);
    println!("{summary}");
}
