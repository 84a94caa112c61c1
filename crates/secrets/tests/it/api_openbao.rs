//! The local interface before a real OpenBao, with its own command line as the client.

use std::process::Command;
use std::sync::Arc;

use pillion_client::{Client, Options};
use pillion_model::secrets::Api;
use pillion_model::settings::Address;
use pillion_runtime::board::Secret;
use pillion_secrets::api::{Counters, LocalApi, bind};
use pillion_testkit::{OpenBao, tool};
use serde_json::json;
use tokio::sync::watch;

/// Runs the command line without a token of its own; what it wrote, or what it complained about.
async fn bao(address: &str, arguments: &'static [&'static str]) -> Result<String, String> {
    let mut command = Command::new(tool("bao"));
    command.args(arguments).env("BAO_ADDR", address).env("VAULT_ADDR", address);
    // Otherwise it finds the token of whoever runs the tests, and tries for long.
    command.env("HOME", "/nonexistent").env("BAO_MAX_RETRIES", "0").env_remove("BAO_TOKEN");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

#[tokio::test]
async fn the_command_line_of_openbao_works_through_a_socket_and_survives_a_sealed_server() {
    let server = OpenBao::start();
    server.put_secret("db", &json!({"password": "one"}));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bao.sock");
    let settings = Api {
        address: Address::Unix(path.clone()),
        auto_auth: true,
        entries: 100,
        kept_bytes: 1 << 20,
        body_bytes: 1 << 20,
        connections: 8,
    };
    let there = Client::new(server.url().parse().unwrap(), &Options::default()).unwrap();
    let (_ours, token) = watch::channel(Some(Secret::from(server.root_token())));
    let numbers = Arc::<Counters>::default();
    let api = Arc::new(LocalApi::new(&settings, there, None, token, numbers.clone()));
    tokio::spawn(api.serve(bind(&settings).unwrap(), std::future::pending()));
    let address = format!("unix://{}", path.display());

    let read = &["kv", "get", "-mount=secret", "-field=password", "db"];
    assert_eq!(bao(&address, read).await.as_deref(), Ok("one"));
    bao(&address, &["kv", "put", "-mount=secret", "db", "password=two"]).await.unwrap();
    assert_eq!(bao(&address, read).await.as_deref(), Ok("two"));
    assert_eq!(
        bao(&address, &["kv", "list", "-mount=secret", "-format=json"]).await.unwrap(),
        "[\n  \"db\"\n]"
    );

    let create = &["token", "create", "-ttl=1h", "-field=token_accessor"];
    let first = bao(&address, create).await.unwrap();
    assert_eq!(bao(&address, create).await.unwrap(), first);
    assert_eq!(numbers.numbers().hits, 1);
    server.post("/v1/auth/token/revoke-accessor", &json!({"accessor": first}));

    server.seal();
    assert_eq!(bao(&address, read).await.as_deref(), Ok("two"));
    assert!(numbers.numbers().stale > 0);
    let write = bao(&address, &["kv", "put", "-mount=secret", "db", "password=three"]).await;
    assert!(write.unwrap_err().contains("sealed"));
    server.unseal();
}
