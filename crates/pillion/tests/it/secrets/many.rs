//! Many secrets and templates, and the local interface.

use std::fmt::Write as _;

use pillion_testkit::{Rest, eventually, eventually_some};
use serde_json::{Value, json};

use super::bed::Bed;
use crate::pillion;

const SECRETS: usize = 100;
const TEMPLATES: usize = 50;

#[test]
fn each_secret_is_asked_for_once_and_a_broken_template_adds_nothing() {
    let bed = Bed::new();
    let (mut secrets, mut sets) = (String::new(), String::new());
    for secret in 0..SECRETS {
        bed.bao.put_secret(&format!("s{secret}"), &json!({"key": format!("value {secret}")}));
        writeln!(secrets, "    s{secret}: {{path: secret/s{secret}, interval: 1h}}").unwrap();
    }
    let mut set = |name: &str, template: &str| {
        let directory = bed.path(name);
        let directory = directory.display();
        writeln!(
            sets,
            "    {name}: {{directory: {directory}, files: {{file: {{text: \"{template}\"}}}}}}"
        )
        .unwrap();
    };
    for template in 0..TEMPLATES {
        let (one, two) = (template * 2, template * 2 + 1);
        set(
            &format!("t{template}"),
            &format!("{{{{ secret('s{one}').key }}}}, {{{{ secret('s{two}').key }}}}"),
        );
    }
    set("broken", "{{ secret('s0').nope }}");
    let config = format!(
        "secrets:\n  {}\n  readiness: {{wait: false}}\n  secrets:\n{secrets}  sets:\n{sets}",
        bed.server()
    );
    let pillion = pillion().config(config).start_ready();
    let is_there = |template: usize| {
        let expected = format!("value {}, value {}", template * 2, template * 2 + 1);
        bed.read(&format!("t{template}/file")) == expected
    };
    eventually("all files", || (0..TEMPLATES).all(is_there));
    let status = || serde_json::from_str::<Value>(&pillion.admin.get("/secrets").1).unwrap();
    eventually("the broken one", || status()["sets"]["broken"]["state"] == "failing");
    assert!(status()["sets"]["broken"]["error"].as_str().unwrap().contains("nope"));
    // One for each, one about our token, one about what is mounted.
    let requests = pillion.metric("pillion_secrets_server_requests_total");
    assert_eq!(requests, (SECRETS + 2) as f64);
}

#[test]
fn the_local_interface_answers_with_our_token() {
    let bed = Bed::new();
    bed.bao.put_secret("db", &json!({"key": "value"}));
    let config = format!("secrets:\n  {}\n  api: {{listen: \"127.0.0.1:0\"}}\n", bed.server());
    let pillion = pillion().config(config).start();
    let address = eventually_some("the interface", || {
        let text = pillion.stderr.text();
        let line = text.lines().find(|line| line.contains("the secrets API is served"))?;
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line["address"].as_str().unwrap().to_owned())
    });
    let rest = Rest::new(format!("http://{address}"));
    assert_eq!(rest.get("/v1/secret/data/db").status, 412, "a browser could have sent it");
    let rest = Rest::new(format!("http://{address}")).header("x-vault-request: true".to_owned());
    eventually("the token", || rest.get("/v1/secret/data/db").status == 200);
    assert_eq!(rest.get("/v1/secret/data/db").json()["data"]["data"]["key"], "value");
}
