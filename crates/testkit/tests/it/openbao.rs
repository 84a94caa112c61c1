//! OpenBao keeps secrets.

use pillion_testkit::{OpenBao, Rest};
use serde_json::json;

#[test]
fn a_secret_outlives_a_seal_and_a_kill_of_openbao() {
    let mut bao = OpenBao::start();
    bao.put_secret("app", &json!({"password": "one"}));
    bao.put_secret("app", &json!({"password": "two"}));
    let read = || bao.get("/v1/secret/data/app");
    assert_eq!(read().json()["data"]["data"], json!({"password": "two"}));
    assert_eq!(read().json()["data"]["metadata"]["version"], 2);

    bao.seal();
    assert!(bao.is_sealed());
    assert_eq!(read().status, 503);
    bao.unseal();
    assert_eq!(read().status, 200);

    let address = bao.address();
    bao.peer.kill();
    bao.rest().ask("GET", "/v1/sys/health", "").unwrap_err();
    bao.restart();
    assert_eq!(bao.address(), address);
    assert!(bao.is_sealed(), "as after every start");
    bao.unseal();
    assert_eq!(bao.get("/v1/secret/data/app").json()["data"]["data"], json!({"password": "two"}));
}

#[test]
fn a_token_of_openbao_may_do_what_its_policy_says_over_tls() {
    let bao = OpenBao::start_tls();
    bao.put_secret("ours", &json!({"a": "1"}));
    bao.put_secret("theirs", &json!({"b": "2"}));
    bao.put_policy("reader", "path \"secret/data/ours\" {capabilities = [\"read\"]}");
    let token = bao.token("reader", 60);
    let rest = bao.rest_with(&token);
    assert_eq!(rest.get("/v1/secret/data/ours").json()["data"]["data"], json!({"a": "1"}));
    assert_eq!(rest.get("/v1/secret/data/theirs").status, 403);
    let stranger = Rest::new(bao.url());
    let refused = stranger.ask("GET", "/v1/sys/health", "").unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
}
