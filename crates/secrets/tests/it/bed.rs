//! What the tests share: a configured server, tokens that are kept, secrets that are asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pillion_model::secrets::{Auth, SecretSource, Server};
use pillion_secrets::bao::Bao;
use pillion_secrets::broker::{Broker, Failure, Held};
use pillion_secrets::fetched::Fetched;
use pillion_secrets::session::{Session, Sessions, Tokens};
use pillion_testkit::{OpenBao, PATIENCE};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A server with short waits.
pub(crate) fn server(url: &str, auth: Auth) -> Server {
    Server {
        url: url.into(),
        ca: None,
        server_name: None,
        namespace: None,
        auth,
        timeout: Duration::from_secs(10),
        backoff: (Duration::from_millis(50), Duration::from_millis(400)),
        renew_at: 0.5,
        revoke_on_exit: true,
        answer_bytes: 4 << 20,
    }
}

pub(crate) fn source(path: &str) -> SecretSource {
    SecretSource {
        name: path.into(),
        path: path.to_owned(),
        data: Vec::new(),
        interval: Duration::from_secs(300),
        version: None,
    }
}

pub(crate) fn write_source(path: &str, data: &[(&str, &str)]) -> SecretSource {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    SecretSource { data, ..source(path) }
}

pub(crate) fn text(fetched: &Fetched, key: &str) -> String {
    fetched.data[key].secret().reveal_text().unwrap().to_owned()
}

/// Tokens that are kept alive while this lives, and a broker that uses them.
pub(crate) struct Ride {
    pub(crate) tokens: Tokens,
    pub(crate) broker: Broker,
    pub(crate) keeping: JoinHandle<()>,
}

impl Ride {
    pub(crate) fn start(server: &Server) -> Self {
        Self::adopting(server, None)
    }

    pub(crate) fn adopting(server: &Server, session: Option<Session>) -> Self {
        let bao = Bao::new(server).unwrap();
        let (tokens, keeping) = Tokens::new(bao.clone(), session);
        let broker = Broker::new(bao, tokens.clone());
        Self { tokens, broker, keeping: tokio::spawn(keeping.run()) }
    }

    /// Waits for a state of the tokens.
    pub(crate) async fn sessions(&self, what: &str, is: impl Fn(&Sessions) -> bool) -> Sessions {
        let mut watch = self.tokens.watch();
        let found = tokio::time::timeout(PATIENCE, watch.wait_for(is)).await;
        let found = found.unwrap_or_else(|_| panic!("waited in vain for {what}"));
        found.unwrap().clone()
    }

    /// Waits for a token other than that of `last`.
    pub(crate) async fn session_after(&self, last: Option<&Session>) -> Arc<Session> {
        let last = last.map(|session| session.id);
        let is_new =
            |now: &Sessions| now.current.as_ref().is_some_and(|session| Some(session.id) > last);
        self.sessions("a new session", is_new).await.current.unwrap()
    }

    pub(crate) async fn fetch(&self, path: &str) -> Result<Held, Failure> {
        self.broker.fetch(&source(path)).await
    }

    /// Fetches until that succeeds.
    pub(crate) async fn fetch_eventually(&self, path: &str) -> Held {
        let all = async {
            loop {
                match self.fetch(path).await {
                    Ok(held) => return held,
                    Err(failure) => tokio::time::sleep(failure.wait).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("a secret")
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// Waits until something holds, and lets the tasks of the test go on meanwhile.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let all = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, all).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"));
}

/// Files with credentials.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("pillion-secrets-").unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a file as a whole.
    pub(crate) fn write(&self, name: &str, content: &str) -> std::path::PathBuf {
        let (path, beside) = (self.path(name), self.path("beside"));
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        path
    }
}

/// Posts with the root token, and wants success.
pub(crate) fn post(bao: &OpenBao, path: &str, body: &Value) -> Value {
    let answer = bao.post(path, body);
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    serde_json::from_str(&answer.text).unwrap_or(Value::Null)
}

/// May read everything that the tests have, and revoke leases.
pub(crate) fn allow_app(bao: &OpenBao) {
    bao.put_policy(
        "app",
        "path \"secret/*\" { capabilities = [\"read\", \"list\"] }\n\
         path \"old/*\" { capabilities = [\"read\", \"list\"] }\n\
         path \"database/creds/*\" { capabilities = [\"read\"] }\n\
         path \"pki/issue/*\" { capabilities = [\"update\"] }\n\
         path \"sys/leases/revoke\" { capabilities = [\"update\"] }",
    );
}

/// A role `app` of `AppRole` whose tokens live for so many seconds, and how to log in with it.
pub(crate) fn approle(bao: &OpenBao, files: &Files, ttl: u32, max_ttl: u32) -> Auth {
    allow_app(bao);
    post(bao, "/v1/sys/auth/approle", &json!({"type": "approle"}));
    let role = json!({"token_policies": "app", "token_ttl": ttl, "token_max_ttl": max_ttl});
    post(bao, "/v1/auth/approle/role/app", &role);
    let id = bao.get("/v1/auth/approle/role/app/role-id").json();
    let secret = post(bao, "/v1/auth/approle/role/app/secret-id", &json!({}));
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: files.write("role-id", id["data"]["role_id"].as_str().unwrap()),
        secret_id: Some(files.write("secret-id", secret["data"]["secret_id"].as_str().unwrap())),
        wrapped: false,
        remove: false,
    }
}

/// The root token from a file.
pub(crate) fn root(bao: &OpenBao, files: &Files) -> Auth {
    token_file(&files.write("token", bao.root_token()))
}

pub(crate) fn token_file(path: &Path) -> Auth {
    Auth::TokenFile { path: path.to_owned(), wrapped: false }
}
