//! What is left at the server when the process has ended in order, or has gone over to another server.

use pillion_testkit::{Pillion, Postgres, Signal, eventually};
use serde_json::json;

use super::bed::{Bed, log, roles, status};
use crate::pillion;

/// A lease, and the token that it was got with.
struct Got {
    lease: String,
    accessor: String,
}

impl Got {
    fn of(pillion: &Pillion) -> Self {
        let status = status(pillion);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        Self {
            lease: text(&status["secrets"]["db"]["lease"]),
            accessor: text(&status["server"]["session"]["accessor"]),
        }
    }

    /// Whether the lease lives, and whether the token does.
    fn lives(&self, bed: &Bed) -> [bool; 2] {
        let token = json!({"accessor": self.accessor});
        let token = bed.bao.post("/v1/auth/token/lookup-accessor", &token).status;
        [bed.lease(&self.lease) == 200, token == 200]
    }
}

/// `server: …` with a login of our own, with more settings.
fn server(bed: &Bed, auth: &str, more: &str) -> String {
    bed.server_with(auth).replace("timeout: 5s", more)
}

/// Credentials of a database in the folder `to` of `bed`.
fn config(bed: &Bed, to: &str, server: &str, more: &str) -> String {
    format!(
        "secrets:\n  {server}\n  secrets: {{db: {{path: database/creds/app}}}}\n  sets: {{main: \
         {{directory: \"{}\", files: {{all: {{secret: db}}}}{more}}}}}\n",
        bed.path(to).display()
    )
}

/// Reloads, and waits until there are other credentials.
fn go_over(bed: &Bed, to: &str, pillion: &Pillion, config: &str) {
    let file = format!("{to}/all");
    let before = bed.read(&file);
    pillion.write_config(config);
    let (status, text) = pillion.admin.post("/reload");
    assert_eq!(status, 200, "{text}");
    eventually("other credentials", || bed.read(&file) != before);
    let new = |line: &&serde_json::Value| {
        line["message"] == "a set has a new version, and the app uses it"
    };
    eventually("that they are in use", || log(pillion).iter().filter(new).count() == 2);
}

#[test]
fn leases_and_token_outlive_the_process_unless_they_are_to_end_with_it() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    let auth = bed.approle();
    for revokes in [false, true] {
        let name = format!("revokes {revokes}");
        let server = server(&bed, &auth, &format!("revoke_on_exit: {revokes}"));
        let mut pillion = pillion().config(config(&bed, &name, &server, "")).start_ready();
        let got = Got::of(&pillion);
        let before = roles(&postgres).len();
        assert_eq!(got.lives(&bed), [true, true]);
        pillion.signal(Signal::SIGTERM);
        let ended = pillion.wait();
        assert_eq!(ended.code(), Some(0));
        let said = ended.stderr.contains("all leases are revoked");
        let left = (got.lives(&bed), roles(&postgres).len() == before, said);
        let expected = ([!revokes, !revokes], !revokes, revokes);
        assert_eq!(left, expected, "lease, token, credentials, said; {name}");
        assert!(bed.read(&format!("{name}/all")).contains("v-approle-app"), "files stay");
    }
}

#[test]
fn leases_and_token_at_a_replaced_server_end_with_the_process_where_that_server_was_to_do_so() {
    let (bed, other, postgres) = (Bed::new(), Bed::new(), Postgres::start());
    let [auth, other_auth] = [&bed, &other].map(|bed| {
        bed.database(&postgres, "1h", "2h");
        bed.approle()
    });
    for (revokes, other_revokes) in [(true, true), (true, false), (false, true)] {
        let name = format!("revokes {revokes}, {other_revokes}");
        let first = server(&bed, &auth, &format!("revoke_on_exit: {revokes}"));
        let second = server(&other, &other_auth, &format!("revoke_on_exit: {other_revokes}"));
        let grace = ", grace: 1h";
        let mut pillion = pillion().config(config(&bed, &name, &first, grace)).start_ready();
        let old = Got::of(&pillion);
        go_over(&bed, &name, &pillion, &config(&bed, &name, &second, grace));
        let new = Got::of(&pillion);
        assert_eq!([old.lives(&bed), new.lives(&other)], [[true; 2]; 2], "{name}");
        pillion.signal(Signal::SIGTERM);
        assert_eq!(pillion.wait().code(), Some(0));
        let left = [old.lives(&bed), new.lives(&other)];
        assert_eq!(left, [[!revokes; 2], [!other_revokes; 2]], "{name}");
    }
}

#[test]
fn the_end_does_not_wait_for_a_replaced_server_that_is_gone() {
    let (mut bed, other, postgres) = (Bed::new(), Bed::new(), Postgres::start());
    let [auth, other_auth] = [&bed, &other].map(|bed| {
        bed.database(&postgres, "1h", "2h");
        bed.approle()
    });
    let first = server(&bed, &auth, "revoke_on_exit: true");
    let second = server(&other, &other_auth, "revoke_on_exit: true");
    let grace = ", grace: 1h";
    let mut pillion = pillion().config(config(&bed, "to", &first, grace)).start_ready();
    go_over(&bed, "to", &pillion, &config(&bed, "to", &second, grace));
    let new = Got::of(&pillion);
    bed.bao.peer.kill();
    pillion.signal(Signal::SIGTERM);
    let ended = pillion.wait();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("a lease cannot be revoked; it ends with our token"));
    assert!(ended.stderr.contains("some leases could not be revoked"), "{}", ended.stderr);
    assert_eq!(new.lives(&other), [false, false], "those of the server that is there are");
}

#[test]
fn a_replaced_login_ends_with_its_last_lease_and_takes_nothing_of_the_new_one_along() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    let auth = bed.approle();
    // The token is in the sealed cache, where the next login could find it.
    let key = bed.key();
    let cache = format!(
        "  cache: {{file: {}, key_file: {}}}\n",
        bed.path("cache").display(),
        key.display()
    );
    let config = |timeout: &str| {
        let server = server(&bed, &auth, &format!("timeout: {timeout}, revoke_on_exit: true"));
        config(&bed, "to", &server, ", grace: 1s") + &cache
    };
    let pillion = pillion().config(config("5s")).start_ready();
    let old = Got::of(&pillion);
    eventually("the cache", || bed.path("cache").exists());
    go_over(&bed, "to", &pillion, &config("6s"));
    let new = Got::of(&pillion);
    eventually("the end of the old lease and token", || old.lives(&bed) == [false, false]);
    assert_eq!(new.lives(&bed), [true, true]);
}
