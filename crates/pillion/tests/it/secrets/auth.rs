//! Ways to log in, and what is said when one does not work.

use pillion_testkit::{KubeApiServer, MariaDb, Pillion, Volume, eventually};
use serde_json::{Value, json};

use super::bed::{Bed, status};
use crate::pillion;

/// Configuration with one secret and this way to log in.
fn config(bed: &Bed, auth: &str, path: &str) -> String {
    format!(
        "secrets:\n  {}\n  secrets: {{it: {{path: {path}, interval: 100ms}}}}\n  sets: {{main: \
         {{directory: {}, files: {{it: {{secret: it}}}}, grace: 100ms}}}}\n",
        bed.server_with(auth),
        bed.path("to").display()
    )
}

/// A value of the file that is delivered.
fn value(bed: &Bed, key: &str) -> String {
    let file: Value = serde_json::from_str(&bed.read("to/it")).unwrap_or_default();
    file[key].as_str().unwrap_or_default().to_owned()
}

fn accessor(pillion: &Pillion) -> Value {
    status(pillion)["server"]["session"]["accessor"].clone()
}

/// The answer to a request, wrapped.
fn wrapped(bed: &Bed, path: &str, body: &Value) -> String {
    let rest = bed.bao.rest_with(bed.bao.root_token()).header("x-vault-wrap-ttl: 300s");
    rest.post(path, body).json()["wrap_info"]["token"].as_str().unwrap().to_owned()
}

/// A mount and a role for the service account `app`.
fn kubernetes_auth(bed: &Bed, kubernetes: &KubeApiServer) {
    for account in ["app", "reviewer"] {
        kubernetes.create_service_account(account);
    }
    kubernetes.bind("reviewer", "system:auth-delegator");
    bed.allow_app();
    bed.post("/v1/sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    let authority = std::fs::read_to_string(kubernetes.authority().certificate()).unwrap();
    let config = json!({
        "kubernetes_host": kubernetes.url(),
        "kubernetes_ca_cert": authority,
        "token_reviewer_jwt": kubernetes.token("reviewer", &[]),
    });
    bed.post("/v1/auth/kubernetes/config", &config);
    let role = json!({
        "bound_service_account_names": "app",
        "bound_service_account_namespaces": "default",
        "audience": KubeApiServer::ISSUER,
        "token_policies": "app",
    });
    bed.post("/v1/auth/kubernetes/role/app", &role);
}

fn mariadb_role(bed: &Bed, mariadb: &MariaDb) {
    let config = json!({
        "plugin_name": "mysql-database-plugin",
        "allowed_roles": "*",
        "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp({})/", mariadb.address()),
        "username": MariaDb::SUPERUSER,
        "password": MariaDb::PASSWORD,
    });
    let create = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'";
    let role = json!({"db_name": "main", "creation_statements": [create], "default_ttl": "3s"});
    bed.credentials(&config, &role);
}

#[test]
fn a_pod_logs_in_with_its_projected_token_and_gets_credentials_of_mariadb() {
    let (kubernetes, bed, mariadb) = (KubeApiServer::start(), Bed::new(), MariaDb::start());
    kubernetes_auth(&bed, &kubernetes);
    mariadb_role(&bed, &mariadb);
    let mut volume = Volume::new();
    let first = kubernetes.token("app", &[]);
    volume.project(&[("token", &first), ("namespace", "default")]);
    let auth =
        format!("{{method: kubernetes, role: app, file: {}}}", volume.join("token").display());
    let pillion = pillion().config(config(&bed, &auth, "database/creds/app")).start_ready();
    let works = |name: &str, password: &str| mariadb.sql_as(name, password, "SELECT 1");
    let credentials = || (value(&bed, "username"), value(&bed, "password"));
    let old = credentials();
    assert_eq!(works(&old.0, &old.1).as_deref(), Ok("1"));

    // The kubelet brings another token; with the session, its leases end, and all begins anew.
    let second = kubernetes.token("app", &[]);
    assert_ne!(first, second);
    volume.project(&[("token", &second), ("namespace", "default")]);
    let session = accessor(&pillion);
    bed.post("/v1/auth/token/revoke-accessor", &json!({"accessor": session}));
    // Nobody tells us: the next renewal does.
    eventually("other credentials", || credentials() != old);
    let new = credentials();
    assert_eq!(works(&new.0, &new.1).as_deref(), Ok("1"));
    for text in [&first, &second, &old.1, &new.1] {
        assert!(!pillion.stderr.text().contains(text.as_str()));
    }
}

/// Waits until the status says this of the login.
fn trouble(pillion: &Pillion, expected: &str) {
    eventually(("said of the login", expected), || {
        let error = &status(pillion)["server"]["error"];
        error.as_str().is_some_and(|error| error.contains(expected))
    });
}

#[test]
fn what_is_wrong_with_a_login_is_said_in_one_sentence_and_a_right_one_is_taken() {
    let bed = Bed::new();
    bed.bao.put_secret("it", &json!({"key": "value"}));
    let approle = bed.approle();
    let (url, token) = (bed.bao.url(), bed.path("token-file").display().to_string());
    let from_file = format!("{{method: token_file, file: {token}}}");
    let wrapped = format!("{{method: token_file, file: {token}, wrapped: true}}");
    let mount = approle.replace("method: approle", "method: approle, mount: elsewhere");
    let jwt = |method: &str| format!("{{method: {method}, role: app, file: {token}}}");
    let good = bed.read("secret-id");
    let refused = "status 403: the server refuses the login";
    // A file, what is in it, the configuration, what is said.
    let table = [
        ("other", "", from_file.clone(), format!("cannot read {token}: No such file")),
        ("token-file", "", from_file.clone(), format!("cannot read {token}: it is empty")),
        (
            "token-file",
            "not-a-token",
            from_file,
            format!(
                "cannot use the token in {token} at {url}: {refused}; the server does not know"
            ),
        ),
        (
            "token-file",
            "not-a-token",
            wrapped,
            format!("cannot use the wrapping token in {token}: it is not valid"),
        ),
        (
            "secret-id",
            "not-the-id",
            approle.clone(),
            format!("cannot log in to {url} at auth/approle/login: status 400: the server refuses"),
        ),
        (
            "secret-id",
            &good,
            mount,
            format!(
                "cannot log in to {url} at auth/elsewhere/login: {refused} – permission denied; see"
            ),
        ),
        (
            "token-file",
            "not.a.jwt",
            jwt("jwt"),
            format!("at auth/jwt/login: {refused} – permission denied; see whether the role takes"),
        ),
        (
            "token-file",
            "not.a.jwt",
            jwt("kubernetes"),
            format!(
                "at auth/kubernetes/login: {refused} – permission denied; see whether the role"
            ),
        ),
    ];
    // Long waits: the server locks out who fails five times.
    let config =
        |auth: &str| config(&bed, auth, "secret/it").replace("backoff: 50ms", "backoff: 400ms");
    let pillion = pillion().config(config("{method: token_file, file: /nowhere}")).start();
    for (file, content, auth, expected) in table {
        bed.write(file, content);
        pillion.write_config(&config(&auth));
        assert_eq!(pillion.admin.post("/reload").0, 200);
        trouble(&pillion, &expected);
    }
    pillion.stderr.wait_for("no token of the secrets server");
    let text = pillion.stderr.text();
    assert!(!text.contains("not-a-token") && !text.contains("not-the-id"), "{text}");
    pillion.write_config(&config(&approle));
    assert_eq!(pillion.admin.post("/reload").0, 200);
    eventually("the secret", || value(&bed, "key") == "value");
    eventually("no trouble", || status(&pillion)["server"]["error"].is_null());
}

#[test]
fn a_wrapped_secret_id_is_used_once_and_removed_and_a_used_one_is_a_warning() {
    let bed = Bed::new();
    bed.bao.put_secret("it", &json!({"key": "value"}));
    let approle = bed.approle();
    let token = wrapped(&bed, "/v1/auth/approle/role/app/secret-id", &json!({}));
    bed.write("secret-id", &token);
    let approle = approle.replace('}', ", wrapped: true, remove: true}");
    let first = pillion().config(config(&bed, &approle, "secret/it")).start_ready();
    assert_eq!(value(&bed, "key"), "value");
    assert!(!bed.path("secret-id").exists());
    drop(first);
    bed.write("secret-id", &token);
    let second = pillion().config(config(&bed, &approle, "secret/it")).start();
    trouble(&second, "it was used before, or its time is over; if nobody of yours used it");
    let planted = wrapped(&bed, "/v1/sys/wrapping/wrap", &json!({"secret_id": "theirs"}));
    bed.write("secret-id", &planted);
    trouble(&second, "was made by \"sys/wrapping/wrap\", not by auth/approle/role/ROLE/secret-id");
    assert!(!second.stderr.text().contains(&planted));
    bed.write("secret-id", &wrapped(&bed, "/v1/auth/approle/role/app/secret-id", &json!({})));
    eventually("a login", || status(&second)["server"]["session"].is_object());
}
