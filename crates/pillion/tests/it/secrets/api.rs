//! The local interface, as the supervised app uses it.

use pillion_testkit::{Postgres, Relay, eventually, tool};
use serde_json::{Value, json};

use super::bed::{Bed, roles};
use crate::pillion;

/// Clients that want the same at the same time.
const CLIENTS: usize = 6;

/// A script that waits for the socket, and then does this; what it writes is in the folder.
fn script(bed: &Bed, work: &str) -> String {
    format!(
        "cd {}; until [ -S api.sock ]; do sleep 0.02; done; get() {{ {} --silent --max-time 15 \
         --unix-socket api.sock \"$@\"; }}; {work}; exec sleep 1000",
        bed.path("").display(),
        tool("curl").display()
    )
}

#[test]
fn the_app_gets_one_lease_for_many_requests_and_only_for_requests_that_it_means() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    let relay = Relay::before(bed.bao.address());
    relay.delay("/v1/database/creds", std::time::Duration::from_millis(500));
    let config = format!(
        "secrets:\n  {}\n  api: {{listen: \"unix:{}\"}}\n",
        bed.server_at(&relay.url()),
        bed.path("api.sock").display()
    );
    let asks = |more: &str, file: &str| {
        format!("get {more} http://localhost/v1/database/creds/app -w '%{{http_code}}' > {file}")
    };
    let meant = "-H 'X-Vault-Request: true'";
    let work = [
        // With the interface there may be no token yet.
        format!(
            "until get -f {meant} http://localhost/v1/auth/token/lookup-self > self; do sleep 0.02; done"
        ),
        format!("for n in 1 2 3 4 5 6; do {} & done; wait", asks(meant, "answer-$n")),
        asks("", "unmeant"),
        asks(&format!("{meant} -H 'Origin: http://evil.test'"), "browser"),
        asks(&format!("{meant} -H 'X-Forwarded-For: 192.0.2.1'"), "proxy"),
        "touch done".to_owned(),
    ];
    let script = script(&bed, &work.join("; "));
    let pillion = pillion().arg("--inbound").arg("off").config(config).app(["sh", "-c", &script]);
    let _pillion = pillion.start_ready();
    eventually("the app's work", || bed.path("done").exists());
    let answer = |number: usize| {
        let text = bed.read(&format!("answer-{number}"));
        let json: Value = serde_json::from_str(text.strip_suffix("200").unwrap()).unwrap();
        json["data"]["username"].as_str().unwrap().to_owned()
    };
    let first = answer(1);
    assert!((1..=CLIENTS).all(|number| answer(number) == first));
    assert_eq!(roles(&postgres), [first]);
    assert_eq!(relay.count("/v1/database/creds/app"), 1);
    let own: Value = serde_json::from_str(&bed.read("self")).unwrap();
    assert_eq!(own["data"]["policies"], json!(["root"]), "our token, which the app never saw");
    for (file, status, why) in [
        ("unmeant", "412", "X-Vault-Request: true is missing"),
        ("browser", "403", "the header origin comes from a proxy or a browser"),
        ("proxy", "403", "the header x-forwarded-for comes from a proxy or a browser"),
    ] {
        let text = bed.read(file);
        assert!(text.ends_with(status) && text.contains(why), "{file}: {text}");
    }
}

#[test]
fn the_command_line_of_openbao_works_beside_pillion_through_an_outage() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"password": "one"}));
    let config = format!(
        "secrets:\n  {}\n  api: {{listen: \"unix:{}\"}}\n",
        bed.server(),
        bed.path("api.sock").display()
    );
    let read = format!("{} kv get -mount=secret -field=password db", tool("bao").display());
    let work = format!(
        "export VAULT_ADDR=unix://$PWD/api.sock BAO_ADDR=unix://$PWD/api.sock HOME=/nonexistent \
         BAO_MAX_RETRIES=0; unset BAO_TOKEN VAULT_TOKEN; until {read} > first; do sleep 0.1; done; touch \
         read; until [ -e sealed ]; do sleep 0.02; done; {read} > second 2>&1; touch done"
    );
    let script = script(&bed, &work);
    let pillion = pillion().arg("--inbound").arg("off").config(config).app(["sh", "-c", &script]);
    let _pillion = pillion.start_ready();
    eventually("the first answer", || bed.path("read").exists());
    assert_eq!(bed.read("first").trim(), "one");
    bed.bao.seal();
    bed.write("sealed", "");
    eventually("the second answer", || bed.path("done").exists());
    assert_eq!(bed.read("second").trim(), "one", "what was read last, while the server is sealed");
}
