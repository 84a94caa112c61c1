//! What the tests share: a server with a token in a file, and the configuration that names them.

use std::path::{Path, PathBuf};

use pillion_testkit::{OpenBao, Pillion, Postgres};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server, and a folder for what is delivered.
pub(crate) struct Bed {
    pub(crate) bao: OpenBao,
    folder: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let bed = Self { bao: OpenBao::start(), folder: TempDir::new().unwrap() };
        std::fs::write(bed.path("token"), bed.bao.root_token()).unwrap();
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text of a delivered file; empty where there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        read(&self.path(name))
    }

    /// `server: …` of the section `secrets`, with short waits.
    pub(crate) fn server(&self) -> String {
        self.server_at(&self.bao.url())
    }

    pub(crate) fn server_at(&self, url: &str) -> String {
        format!(
            "server: {{url: \"{url}\", auth: {{method: token_file, file: {}}}, backoff: 50ms, \
             backoff_max: 400ms, renew_at: 50%, timeout: 5s}}",
            self.path("token").display()
        )
    }

    /// A role `app` for credentials of PostgreSQL that live for so long.
    pub(crate) fn database(&self, postgres: &Postgres, ttl: &str, max_ttl: &str) {
        let ok = |path: &str, body: &Value| {
            let answer = self.bao.post(path, body);
            assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        };
        ok("/v1/sys/mounts/database", &json!({"type": "database"}));
        ok(
            "/v1/database/config/main",
            &json!({
                "plugin_name": "postgresql-database-plugin",
                "allowed_roles": "*",
                "connection_url": postgres.dsn_of("{{username}}", "{{password}}"),
                "username": Postgres::SUPERUSER,
                "password": Postgres::PASSWORD,
            }),
        );
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
        ok(
            "/v1/database/roles/app",
            &json!({"db_name": "main", "creation_statements": [create],
                "default_ttl": ttl, "max_ttl": max_ttl}),
        );
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Our own lines of the log so far, of the secrets role and of others, as they are written whole.
pub(crate) fn log(pillion: &Pillion) -> Vec<Value> {
    let text = pillion.stderr.text();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The log's messages about the secret, set or source of this name, in order.
pub(crate) fn said_of(pillion: &Pillion, kind: &str, name: &str) -> Vec<String> {
    let about = |line: &Value| line[kind] == name && line["level"] != "debug";
    log(pillion).iter().filter(|line| about(line)).map(|line| text_of(line, "message")).collect()
}

fn text_of(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}
