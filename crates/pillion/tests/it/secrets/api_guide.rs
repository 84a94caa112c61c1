//! What the guide of the local interface says, line by line, with the real program and server.

use std::process::Command;

use pillion_testkit::{Rest, eventually, eventually_some, tool};
use serde_json::{Value, json};

use super::bed::Bed;
use crate::pillion;

/// A sidecar that serves the interface where `listen` says, and where that is.
fn start(bed: &Bed, listen: &str) -> (pillion_testkit::Pillion, String) {
    bed.bao.put_secret("db", &json!({"password": "hunter2"}));
    let config = format!(
        "secrets:\n  {}\n  api: {{listen: \"{listen}\", body_bytes: 1KiB}}\n",
        bed.server()
    );
    let pillion = pillion().config(config).start();
    let address = eventually_some("the interface, and a token for it", || {
        let page: Value = serde_json::from_str(&pillion.admin.get("/secrets").1).ok()?;
        let has_token = !page["server"]["session"].is_null();
        page["api"]["address"].as_str().filter(|_| has_token).map(str::to_owned)
    });
    (pillion, address)
}

/// What `bao` says with the address in its environment, and no token.
fn bao(address: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("bao"));
    command.args(arguments).env("VAULT_ADDR", address).env("BAO_ADDR", address);
    command.env("HOME", "/nonexistent").env("BAO_MAX_RETRIES", "0").env_remove("BAO_TOKEN");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const READ: [&str; 5] = ["kv", "get", "-mount=secret", "-field=password", "db"];

#[test]
fn an_app_without_a_token_speaks_to_a_port() {
    let bed = Bed::new();
    let (pillion, address) = start(&bed, "127.0.0.1:0");
    let url = format!("http://{address}");
    assert_eq!(bao(&url, &READ), "hunter2");

    let ask = |path: &str, header: &str| {
        let rest = Rest::new(url.clone()).header("x-vault-request: true".to_owned());
        rest.header(header.to_owned()).get(path).status
    };
    let path = "/v1/secret/data/db";
    assert_eq!(Rest::new(url.clone()).get(path).status, 412);
    for (path, header, status) in [
        (path, "x-nothing: 1", 200),
        (path, "origin: http://localhost", 403),
        (path, "x-vault-token: wrong", 403),
        ("/ui/", "x-nothing: 1", 404),
    ] {
        assert_eq!(ask(path, header), status, "{path} {header}");
    }
    let rest = Rest::new(url.clone()).header("x-vault-request: true".to_owned());
    let long = rest.post(path, &json!({"data": {"x": "y".repeat(1024)}}));
    assert_eq!(long.status, 413);
    assert!(long.text.contains("longer than secrets.api.body_bytes, 1024"), "{}", long.text);

    let count = |outcome: &str| {
        pillion.metric(&format!("pillion_secrets_api_requests_total{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!((count("refused"), count("invalid")), (2.0, 2.0));
    assert!(count("asked") >= 3.0);
    let hits = "pillion_secrets_limit_hits_total{limit=\"api.body_bytes\"}";
    pillion.wait_for_metric(hits, 1.0);
    let status = Command::new(env!("CARGO_BIN_EXE_pillion"))
        .args(["secrets", "status", "--admin"])
        .arg(format!("unix:{}", pillion.folder().join("admin.sock").display()))
        .output()
        .unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    for part in [&format!("api {address}: requests asked "), "limit secrets.api.body_bytes: hit 1 "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_app_without_a_token_speaks_to_a_socket_also_while_the_server_is_sealed() {
    let bed = Bed::new();
    let socket = bed.path("bao.sock");
    let (pillion, address) = start(&bed, &format!("unix:{}", socket.display()));
    assert_eq!(address, format!("unix:{}", socket.display()));
    let url = format!("unix://{}", socket.display());
    assert_eq!(bao(&url, &READ), "hunter2");
    let lookup = ["token", "create", "-ttl=1h", "-field=token_accessor"];
    assert_eq!(bao(&url, &lookup), bao(&url, &lookup), "it is kept for as long as it holds");
    bed.bao.seal();
    eventually("an old answer", || {
        bao(&url, &READ) == "hunter2"
            && pillion.metric("pillion_secrets_api_requests_total{outcome=\"stale\"}") >= 1.0
    });
    bed.bao.unseal();
}
