//! What is left at the server when the process has ended in order.

use pillion_testkit::{Postgres, Signal};
use serde_json::json;

use super::bed::{Bed, roles, status};
use crate::pillion;

#[test]
fn leases_and_token_outlive_the_process_unless_they_are_to_end_with_it() {
    let (bed, postgres) = (Bed::new(), Postgres::start());
    bed.database(&postgres, "1h", "2h");
    let server = bed.server_with(&bed.approle());
    for revokes in [false, true] {
        let name = format!("revokes {revokes}");
        let server =
            server.replace("timeout: 5s", &format!("timeout: 5s, revoke_on_exit: {revokes}"));
        let config = format!(
            "secrets:\n  {server}\n  secrets: {{db: {{path: database/creds/app}}}}\n  sets: {{main: \
             {{directory: \"{}\", files: {{all: {{secret: db}}}}}}}}\n",
            bed.path(&name).display()
        );
        let mut pillion = pillion().config(config).start_ready();
        let status = status(&pillion);
        let lease = status["secrets"]["db"]["lease"].as_str().unwrap();
        let accessor = json!({"accessor": status["server"]["session"]["accessor"]});
        let token = || bed.bao.post("/v1/auth/token/lookup-accessor", &accessor).status;
        let before = roles(&postgres).len();
        assert_eq!((bed.lease(lease), token()), (200, 200));
        pillion.signal(Signal::SIGTERM);
        let ended = pillion.wait();
        assert_eq!(ended.code(), Some(0));
        let said = ended.stderr.contains("all leases are revoked");
        let left =
            (bed.lease(lease) == 200, token() == 200, roles(&postgres).len() == before, said);
        let expected = (!revokes, !revokes, !revokes, revokes);
        assert_eq!(left, expected, "lease, token, credentials, said; {name}");
        assert!(bed.read(&format!("{name}/all")).contains("v-approle-app"), "files stay");
    }
}
