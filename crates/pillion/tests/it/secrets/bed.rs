//! What the tests share: a server with a token in a file, and the configuration that names them.

use std::path::{Path, PathBuf};

use pillion_testkit::{OpenBao, Pillion, Postgres, eventually};
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

    /// `server: …` with this `auth: …`.
    pub(crate) fn server_with(&self, auth: &str) -> String {
        format!(
            "server: {{url: \"{}\", auth: {auth}, backoff: 50ms, backoff_max: 400ms, timeout: 5s}}",
            self.bao.url()
        )
    }

    /// Replaces a file as a whole. Returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let (path, beside) = (self.path(name), self.path("beside"));
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }

    /// A file with a key for the sealed cache.
    pub(crate) fn key(&self) -> PathBuf {
        let path = self.write("key", "0123456789abcdef0123456789abcdef");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }

    /// POST with the root token, which has to go well.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.bao.post(path, body);
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        serde_json::from_str(&answer.text).unwrap_or(Value::Null)
    }

    /// May read all secrets and credentials, and revoke leases.
    pub(crate) fn allow_app(&self) {
        self.bao.put_policy(
            "app",
            "path \"secret/*\" { capabilities = [\"read\", \"list\"] }\n\
             path \"database/creds/*\" { capabilities = [\"read\"] }\n\
             path \"sys/leases/revoke\" { capabilities = [\"update\"] }",
        );
    }

    /// `auth: …` for an `AppRole` with the policy of [`Self::allow_app`], whose ids are in the files
    /// `role-id` and `secret-id`.
    pub(crate) fn approle(&self) -> String {
        self.allow_app();
        self.post("/v1/sys/auth/approle", &json!({"type": "approle"}));
        let role = json!({"token_policies": "app", "token_ttl": 600, "token_max_ttl": 3600});
        self.post("/v1/auth/approle/role/app", &role);
        let id = self.bao.get("/v1/auth/approle/role/app/role-id").json();
        let secret = self.post("/v1/auth/approle/role/app/secret-id", &json!({}));
        let file = |name, id: &Value| self.write(name, id.as_str().unwrap()).display().to_string();
        format!(
            "{{method: approle, role_id_file: {}, secret_id_file: {}}}",
            file("role-id", &id["data"]["role_id"]),
            file("secret-id", &secret["data"]["secret_id"])
        )
    }

    /// A role `app` for credentials of PostgreSQL that live for so long.
    pub(crate) fn database(&self, postgres: &Postgres, ttl: &str, max_ttl: &str) {
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": postgres.dsn_of("{{username}}", "{{password}}"),
            "username": Postgres::SUPERUSER,
            "password": Postgres::PASSWORD,
        });
        let create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
        let role = json!({"db_name": "main", "creation_statements": [create],
            "default_ttl": ttl, "max_ttl": max_ttl});
        self.credentials(&config, &role);
    }

    /// The engine for databases, with one database and one role `app`.
    pub(crate) fn credentials(&self, config: &Value, role: &Value) {
        self.post("/v1/sys/mounts/database", &json!({"type": "database"}));
        self.post("/v1/database/config/main", config);
        self.post("/v1/database/roles/app", role);
    }

    /// The status of the look-up of a lease: 200 while it lives.
    pub(crate) fn lease(&self, id: &str) -> u16 {
        self.bao.post("/v1/sys/leases/lookup", &json!({"lease_id": id})).status
    }
}

/// The credentials that there are in the database.
pub(crate) fn roles(postgres: &Postgres) -> Vec<String> {
    let names = postgres.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'");
    names.lines().map(str::to_owned).collect()
}

/// The page `/secrets`.
pub(crate) fn status(pillion: &Pillion) -> Value {
    serde_json::from_str(&pillion.admin.get("/secrets").1).unwrap()
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

/// Waits until as much was said about the secret, set or source (`kind`) of this name, and wants it to be
/// exactly that: messages, in order.
pub(crate) fn assert_said(pillion: &Pillion, kind: &str, name: &str, expected: &[&str]) {
    // Tests deliver to a disk, which is none of their business.
    let about = |line: &&Value| line[kind] == name && !line["directory"].is_string();
    let message = |line: &Value| line["message"].as_str().unwrap().to_owned();
    let said = || log(pillion).iter().filter(about).map(message).collect::<Vec<_>>();
    eventually(("said of", name), || said().len() >= expected.len());
    assert_eq!(said(), expected, "{kind} {name}");
}
