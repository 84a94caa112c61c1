//! Another server, another way to log in, other secrets, on a reload.

use pillion_testkit::{Pillion, Postgres, Signal, eventually};
use serde_json::{Value, json};

use super::bed::{Bed, log, roles, status};
use crate::pillion;

/// A set of credentials and one of a secret, each with a file that says how often its app was told.
fn config(bed: &Bed, server: &str, secret: &str) -> String {
    let set = |name: &str, text: &str| {
        format!(
            "    {name}: {{directory: {}, files: {{text: {{text: \"{text}\"}}}}, grace: 1s, tell: \
             {{command: [sh, -c, \"echo >> {}\"]}}}}\n",
            bed.path(name).display(),
            bed.path(&format!("{name}-told")).display()
        )
    };
    format!(
        "secrets:\n  {server}\n  secrets: {{db: {{path: database/creds/app}}, kv: {{path: {secret}, \
         interval: 100ms}}}}\n  sets:\n{}{}",
        set("db", "{{ secret('db').username }}"),
        set("kv", "{{ secret('kv').key }}")
    )
}

/// How often the apps of both sets were told.
fn told(bed: &Bed) -> [usize; 2] {
    ["db-told", "kv-told"].map(|file| bed.read(file).lines().count())
}

fn reload(pillion: &Pillion, config: &str) {
    pillion.write_config(config);
    let (status, text) = pillion.admin.post("/reload");
    assert_eq!(status, 200, "{text}");
}

/// Other credentials than those of before are in use, and the old ones go after their grace time.
fn replaced(bed: &Bed, postgres: &Postgres, pillion: &Pillion, before: &str) -> String {
    eventually("other credentials", || bed.read("db/text") != before);
    let now = bed.read("db/text");
    eventually("the end of the old ones", || roles(postgres) == [now.as_str()]);
    let last = |message: &str| {
        let about = |line: &Value| line["message"] == message && line["set"] != "kv";
        let lines = log(pillion);
        lines.iter().rfind(|line| about(line)).map_or(0, milliseconds)
    };
    eventually("that it is said", || {
        last("an old lease is revoked") >= last("a set has a new version, and the app uses it")
    });
    let held =
        last("an old lease is revoked") - last("a set has a new version, and the app uses it");
    // The grace time begins a moment before the line is written.
    assert!(held > 500, "{held} ms");
    now
}

/// When a line was written, since midnight.
fn milliseconds(line: &Value) -> u64 {
    let time = line["time"].as_str().unwrap();
    let parts = [(11, 3_600_000), (14, 60_000), (17, 1000)];
    let whole = parts.map(|(at, unit)| time[at..at + 2].parse::<u64>().unwrap() * unit);
    whole.iter().sum::<u64>() + time[20..23].parse::<u64>().unwrap()
}

#[test]
fn another_server_or_login_takes_over_and_old_leases_live_for_their_grace_time() {
    let (bed, other, postgres) = (Bed::new(), Bed::new(), Postgres::start());
    for bed in [&bed, &other] {
        bed.database(&postgres, "1h", "2h");
        bed.bao.put_secret("kv", &json!({"key": "same"}));
        bed.bao.put_secret("kv2", &json!({"key": "another"}));
    }
    let pillion = pillion().config(config(&bed, &bed.server(), "secret/kv")).start_ready();
    assert_eq!((told(&bed), bed.read("kv/text").as_str()), ([1, 1], "same"));
    let first = bed.read("db/text");
    assert_eq!(roles(&postgres), [first.as_str()]);

    let approle = bed.server_with(&bed.approle());
    reload(&pillion, &config(&bed, &approle, "secret/kv"));
    let second = replaced(&bed, &postgres, &pillion, &first);
    assert_eq!(told(&bed), [2, 1], "what is the same is not delivered twice");
    assert_eq!(status(&pillion)["server"]["session"]["policies"], json!(["app", "default"]));

    pillion.write_config(&config(&bed, &other.server(), "secret/kv"));
    pillion.signal(Signal::SIGHUP);
    let third = replaced(&bed, &postgres, &pillion, &second);
    assert_eq!(told(&bed), [3, 1]);
    assert_eq!(status(&pillion)["server"]["url"], other.bao.url());

    // The server alone is not asked for credentials again because another secret is wanted.
    reload(&pillion, &config(&bed, &other.server(), "secret/kv2"));
    eventually("another secret", || bed.read("kv/text") == "another");
    eventually("that its app is told", || told(&bed) == [3, 2]);
    assert_eq!(bed.read("db/text"), third);

    let said = log(&pillion).len();
    let bad = config(&bed, &bed.server(), "secret/kv").replace("grace: 1s", "grace: soon");
    pillion.write_config(&bad);
    let (code, text) = pillion.admin.post("/reload");
    assert!(code == 422 && text.contains("grace"), "{code} {text}");
    other.bao.put_secret("kv2", &json!({"key": "goes on"}));
    eventually("what was in force goes on", || bed.read("kv/text") == "goes on");
    eventually("that its app is told", || told(&bed) == [3, 3]);
    assert_eq!(bed.read("db/text"), third);
    let again = |message: &str| log(&pillion)[said..].iter().any(|line| line["message"] == message);
    assert!(!again("logged in to the secrets server"), "nobody has logged in anew");
}

#[test]
fn a_server_that_does_not_answer_takes_nothing_away_from_the_app() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    bed.bao.put_secret("kv", &json!({"key": "old"}));
    let pillion = pillion().config(config(&bed, &bed.server(), "secret/kv")).start_ready();
    let name = bed.read("db/text");
    let nobody = pillion_testkit::ClosedPort::new();
    let nowhere = bed.server_at(&format!("http://{}", nobody.address()));
    reload(&pillion, &config(&bed, &nowhere, "secret/kv"));
    eventually("the trouble", || {
        let error = status(&pillion)["server"]["error"].clone();
        error.as_str().is_some_and(|error| error.contains("cannot connect"))
    });
    assert_eq!((bed.read("db/text"), roles(&postgres)), (name.clone(), vec![name.clone()]));
    reload(&pillion, &config(&bed, &bed.server(), "secret/kv"));
    bed.bao.put_secret("kv", &json!({"key": "new"}));
    eventually("the way back", || bed.read("kv/text") == "new");
    replaced(&bed, &postgres, &pillion, &name);
    // Meanwhile those who asked the server that does not answer have given up, and say nothing.
    assert_eq!(pillion.metric("pillion_secrets_staleness_seconds"), 0.0);
    let page = status(&pillion);
    assert_eq!(page["server"]["error"], Value::Null);
    for name in ["db", "kv"] {
        let secret = &page["secrets"][name];
        assert!(secret["error"].is_null() && secret["generation"].as_u64() >= Some(1), "{page}");
    }
}

/// One secret, delivered into a folder, and kept in the cache `cache` if that is wanted.
fn config_with_cache(bed: &Bed, server: &str, to: &str, cache: Option<&str>) -> String {
    let key = bed.key();
    let cache = cache.map_or(String::new(), |name| {
        format!("  cache: {{file: {}, key_file: {}}}\n", bed.path(name).display(), key.display())
    });
    format!(
        "secrets:\n  {server}\n  secrets: {{kv: {{path: secret/kv, interval: 100ms}}}}\n  sets: {{main: \
         {{directory: {}, files: {{value: {{secret: kv, key: key}}}}}}}}\n{cache}",
        bed.path(to).display()
    )
}

#[test]
fn a_sealed_cache_that_is_configured_later_is_kept_from_then_on() {
    let bed = Bed::new();
    bed.bao.put_secret("kv", &json!({"key": "value"}));
    let config = |cache| config_with_cache(&bed, &bed.server(), "to", cache);
    let pillion = pillion().config(config(None)).start_ready();
    for name in ["one", "two"] {
        reload(&pillion, &config(Some(name)));
        eventually("the cache", || bed.path(name).exists());
    }
    assert_eq!(bed.read("to/value"), "value");
    assert_eq!(status(&pillion)["sets"]["main"]["version"], 1);
}

#[test]
fn a_sealed_cache_goes_over_to_another_server_and_no_token_does() {
    let (bed, mut other) = (Bed::new(), Bed::new());
    bed.bao.put_secret("kv", &json!({"key": "ours"}));
    other.bao.put_secret("kv", &json!({"key": "theirs"}));
    let config = |server: &str, to| config_with_cache(&bed, server, to, Some("cache"));
    let (ours, theirs) = (bed.server(), other.server());
    let mut first = pillion().config(config(&ours, "to")).start_ready();
    let cache = || std::fs::read(bed.path("cache")).unwrap_or_default();
    eventually("the cache", || !cache().is_empty());
    let before = cache();
    reload(&first, &config(&theirs, "to"));
    eventually("the other value", || bed.read("to/value") == "theirs");
    eventually("the cache of the other server", || cache() != before);
    first.signal(Signal::SIGTERM);
    let said = first.wait().stderr;
    assert!(!said.contains("our token was revoked"), "{said}");
    assert!(said.contains("does not open: its key or its server is another one"), "{said}");
    other.bao.peer.kill();
    let second = pillion().config(config(&theirs, "second")).start_ready();
    assert_eq!(bed.read("second/value"), "theirs");
    second.stderr.wait_for("comes from the sealed cache");
}
