//! The whole role, as its configuration has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pillion_model::config::{Overrides, parse};
use pillion_runtime::board::{AppControl, Board};
use pillion_runtime::lifecycle::Lifecycle;
use pillion_runtime::metrics::Registry;
use pillion_runtime::role::Role;
use pillion_secrets::{CONDITION, Context, Status};
use pillion_testkit::{Body, Etcd, Head, Origin};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::bed::eventually;

/// The role at work. It ends with this.
struct Engine {
    folder: TempDir,
    status: Status,
    registry: Registry,
    board: Board,
    role: Role,
    _settings: watch::Sender<Arc<pillion_model::secrets::Secrets>>,
}

impl Engine {
    /// `configure` is the section `secrets`, written for a folder of its own.
    fn start(configure: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("token"), "t").unwrap();
        let text = format!("secrets: {}", configure(folder.path()));
        let loaded = parse("test.yaml", &text, &Overrides::default());
        let secrets = loaded.unwrap_or_else(|problems| panic!("{problems:?}")).roles.secrets;
        let (settings, followed) = watch::channel(secrets.unwrap());
        let registry = Registry::new(1000);
        let (status, board) = (Status::new(&registry), Board::default());
        let context = Context {
            settings: followed,
            board: board.clone(),
            app: AppControl::new().0,
            supervised: false,
            lifecycle: Lifecycle::new(&[CONDITION]),
            registry: registry.clone(),
            status: status.clone(),
        };
        let run = move |stop| pillion_secrets::run(context.clone(), stop);
        let role = Role::start("secrets", &registry, run).unwrap();
        Self { folder, status, registry, board, role, _settings: settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn page(&self) -> Value {
        self.status.page(SystemTime::now())
    }

    /// The value of a metric with these labels, as they are written.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.registry.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.role.stop(Instant::now() + Duration::from_secs(5));
    }
}

fn ok(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A server with a token, and credentials that have a lease each.
struct Lessor {
    origin: Origin,
    given: Arc<AtomicUsize>,
}

impl Lessor {
    fn start() -> Self {
        let given = Arc::new(AtomicUsize::new(0));
        let count = given.clone();
        let origin = Origin::answering(move |head: &Head, _body: &Body| {
            let path = head.line.split(' ').nth(1).unwrap_or_default();
            ok(&match path {
                "/v1/auth/token/lookup-self" => {
                    json!({"data": {"ttl": 0, "accessor": "a", "policies": ["root"], "renewable": false}})
                }
                "/v1/creds/app" => {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    json!({"lease_id": format!("creds/app/{number}"), "lease_duration": 3600,
                        "renewable": true, "data": {"user": format!("user-{number}"), "port": 5432, "more": {"key": ["n3sted"]}}})
                }
                "/v1/flaky/app" if count.fetch_add(1, Ordering::SeqCst) == 0 => {
                    return b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec();
                }
                "/v1/flaky/app" => json!({"data": {"user": "steady"}}),
                _ if path.starts_with("/v1/sys/internal/ui/mounts/") => {
                    json!({"data": {"path": "creds/", "type": "database"}})
                }
                _ => json!({}),
            })
        });
        Self { origin, given }
    }

    fn server(&self, folder: &Path) -> String {
        let token = folder.join("token");
        let address = self.origin.address();
        format!(
            "server: {{url: 'http://{address}', auth: {{method: token_file, file: {}}}, backoff: 20ms}}",
            token.display()
        )
    }

    /// The leases that were revoked, in order.
    fn revoked(&self) -> Vec<String> {
        let requests = self.origin.requests();
        let revocations = requests.iter().filter(|(head, _)| head.line.contains("leases/revoke"));
        let lease = |body: &Body| {
            let body: Value = serde_json::from_slice(&body.data).unwrap();
            body["lease_id"].as_str().unwrap().to_owned()
        };
        revocations.map(|(_, body)| lease(body)).collect()
    }
}

#[tokio::test]
async fn values_that_the_app_refuses_again_and_again_are_replaced_and_revoked() {
    let lessor = Lessor::start();
    let engine = Engine::start(|folder| {
        // The first credential is refused, however often it is tried.
        let accepts = "! grep -q user-1 user";
        format!(
            "{{{}, secrets: {{db: {{path: creds/app}}}}, sets: {{db: {{directory: {}, \
             files: {{user: {{secret: db, key: user}}}}, checks: [{{command: [/bin/sh, -c, \"{accepts}\"]}}]}}}}}}",
            lessor.server(folder),
            folder.join("db").display()
        )
    });
    eventually("a credential that is accepted", || engine.read("db/user") == "user-2").await;
    eventually("the end of the one that was not", || !lessor.revoked().is_empty()).await;
    assert_eq!(lessor.revoked(), ["creds/app/1"]);
    assert_eq!(lessor.given.load(Ordering::SeqCst), 2);
    let refused =
        engine.metric(r#"pillion_secrets_transactions_total{set="db",outcome="refused"}"#);
    assert_eq!(refused, Some(4.0));
}

#[tokio::test]
async fn a_lease_that_one_set_refuses_stays_with_the_set_that_uses_it() {
    let lessor = Lessor::start();
    let engine = Engine::start(|folder| {
        let set = |name: &str, check: &str| {
            format!(
                "{name}: {{directory: {}, files: {{user: {{secret: db, key: user}}}}, checks: [{{command: [{check}]}}]}}",
                folder.join(name).display()
            )
        };
        format!(
            "{{{}, secrets: {{db: {{path: creds/app}}}}, sets: {{{}, {}}}}}",
            lessor.server(folder),
            set("good", "/bin/true"),
            set("bad", "/bin/false")
        )
    });
    let refused = r#"pillion_secrets_transactions_total{set="bad",outcome="refused"}"#;
    eventually("more refusals than are borne", || engine.metric(refused) >= Some(5.0)).await;
    assert_eq!(engine.read("good/user"), "user-1");
    assert_eq!((lessor.given.load(Ordering::SeqCst), lessor.revoked()), (1, vec![]));
}

#[tokio::test]
async fn values_come_with_their_types() {
    let lessor = Lessor::start();
    let engine = Engine::start(|folder| {
        format!(
            "{{{}, secrets: {{db: {{path: creds/app}}}}, sets: {{db: {{directory: {}, files: {{\
             all.json: {{secret: db}}, port: {{secret: db, key: port}}, \
             jinja: {{text: '{{{{ secrets.db.port + 1 }}}} {{{{ secrets.db.more.key[0] }}}} {{{{ secrets.db.more|tojson }}}}'}}, \
             consul: {{text: '{{{{ with secret \"creds/app\" }}}}{{{{ .Data | toJSON }}}}{{{{ end }}}}', language: consul}}}}}}}}}}",
            lessor.server(folder),
            folder.join("db").display()
        )
    });
    eventually("the files", || engine.page()["sets"]["db"]["confirmed"] == 1).await;
    assert_eq!(
        engine.read("db/all.json"),
        "{\"more\":{\"key\":[\"n3sted\"]},\"port\":5432,\"user\":\"user-1\"}\n"
    );
    assert_eq!(engine.read("db/port"), "5432");
    assert_eq!(engine.read("db/jinja"), "5433 n3sted {\"key\": [\"n3sted\"]}");
    assert_eq!(
        engine.read("db/consul"),
        "{\"more\":{\"key\":[\"n3sted\"]},\"port\":5432,\"user\":\"user-1\"}"
    );
    let delivered = engine.board.delivered.current();
    assert!(delivered.contains(&"n3sted".into()), "what is nested is kept out of logs too");
}

#[tokio::test]
async fn a_set_and_a_source_that_are_too_large_are_refused_and_counted() {
    let engine = Engine::start(|folder| {
        std::fs::create_dir(folder.join("many")).unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.join("many").join(name), "1").unwrap();
        }
        format!(
            "{{limits: {{files: 2, bytes: 1KiB}}, configs: {{many: {{files: {0}/many}}}}, sets: {{\
             many: {{directory: {0}/of-many, files: {{m: {{config: many}}}}}}, \
             long: {{directory: {0}/of-long, files: {{a: {{text: \"{1}\"}}}}}}, \
             fits: {{directory: {0}/of-fits, files: {{a: {{text: \"{2}\"}}}}}}}}}}",
            folder.display(),
            "x".repeat(1025),
            "x".repeat(1024)
        )
    });
    eventually("two files", || !engine.read("of-many/m/b").is_empty()).await;
    eventually("so many bytes", || engine.read("of-fits/a").len() == 1024).await;
    std::fs::write(engine.path("many/c"), "1").unwrap();
    let files = r#"pillion_secrets_limit_hits_total{limit="limits.files"}"#;
    let bytes = r#"pillion_secrets_limit_hits_total{limit="limits.bytes"}"#;
    eventually("a file too many", || engine.metric(files) >= Some(1.0)).await;
    eventually("a byte too many", || engine.metric(bytes) == Some(1.0)).await;
    let page = engine.page();
    let error = page["configs"]["many"]["error"].as_str().unwrap();
    assert_eq!(
        error,
        "3 files are more than secrets.limits.files, which is 2: raise it, or have less"
    );
    let error = page["sets"]["long"]["error"].as_str().unwrap();
    assert_eq!(
        error,
        "1025 bytes are more than secrets.limits.bytes, which is 1024: raise it, or have less"
    );
    assert!(page["limit_hits"]["limits.files"].as_u64() >= Some(1), "{page}");
    assert_eq!(
        (engine.read("of-many/m/c"), engine.read("of-many/m/b")),
        (String::new(), "1".into())
    );
}

/// Without the watches, both are only looked at every half minute.
const LOOK: Duration = Duration::from_secs(20);

#[tokio::test]
async fn changes_of_etcd_and_of_files_are_applied_without_waiting_for_the_next_look() {
    let etcd = Etcd::start();
    let put = |value: &str| {
        let pair = json!({"key": STANDARD.encode("/app/key"), "value": STANDARD.encode(value)});
        etcd.call("/v3/kv/put", &pair);
    };
    put("0");
    let engine = Engine::start(|folder| {
        std::fs::write(folder.join("source"), "0").unwrap();
        format!(
            "{{configs: {{file: {{files: {0}/source}}, etcd: {{etcd: 'http://{1}', prefix: /app/}}}}, \
             sets: {{both: {{directory: {0}/both, files: {{f: {{config: file}}, e: {{config: etcd}}}}}}}}}}",
            folder.display(),
            etcd.address()
        )
    });
    eventually("the first files", || engine.read("both/e/key") == "0").await;
    for round in ["1", "2", "3"] {
        let began = Instant::now();
        put(round);
        eventually("the key of etcd", || engine.read("both/e/key") == round).await;
        std::fs::write(engine.path("source"), round).unwrap();
        eventually("the file", || engine.read("both/f/source") == round).await;
        assert!(began.elapsed() < LOOK, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_name_that_nothing_has_is_said_at_once_with_those_that_there_are() {
    let lessor = Lessor::start();
    for (template, error) in [
        ("{{ secrets.bd.user }}", "no secret has the name bd; there are: db"),
        (
            "{{ configs.etc['a'] }}",
            "no configuration source has the name etc; there is none at all",
        ),
    ] {
        let engine = Engine::start(|folder| {
            format!(
                "{{{}, secrets: {{db: {{path: creds/app}}}}, sets: {{db: {{directory: {}, \
                 files: {{a: {{text: \"{template}\"}}}}}}}}}}",
                lessor.server(folder),
                folder.join("db").display()
            )
        });
        let delivered = engine.status.delivered_once().await;
        assert_eq!(delivered, Err(format!("db: {error}")));
    }
}

#[tokio::test]
async fn the_last_error_of_a_secret_is_shown_when_it_is_over() {
    let lessor = Lessor::start();
    let engine = Engine::start(|folder| {
        format!(
            "{{{}, secrets: {{db: {{path: flaky/app}}}}, sets: {{db: {{directory: {}, \
             files: {{user: {{secret: db, key: user}}}}}}}}}}",
            lessor.server(folder),
            folder.join("db").display()
        )
    });
    assert_eq!(engine.page()["secrets"]["db"]["last_error"], Value::Null);
    eventually("the file", || engine.page()["sets"]["db"]["confirmed"] == 1).await;
    assert_eq!(engine.read("db/user"), "steady");
    let page = engine.page();
    let secret = &page["secrets"]["db"];
    assert_eq!((&secret["error"], &secret["failing_seconds"]), (&Value::Null, &Value::Null));
    let error = secret["last_error"]["error"].as_str().unwrap();
    assert_eq!(error, "cannot read flaky/app: status 500: the server failed");
    assert!(secret["last_error"]["seconds_ago"].is_number());
}
