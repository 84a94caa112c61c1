//! Every way to log in.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pillion_model::secrets::{Auth, Server};
use pillion_testkit::{KubeApiServer, OpenBao};
use serde_json::{Value, json};

use crate::bed::{Files, Ride, allow_app, approle, post, server, text, token_file};

/// Logs in and reads a secret.
async fn works(server: &Server) -> Ride {
    let ride = Ride::start(server);
    let fetched = ride.fetch_eventually("secret/db").await.fetched;
    assert_eq!(text(&fetched, "password"), "one");
    ride
}

/// Why there is no token.
async fn login_trouble(server: &Server) -> String {
    let ride = Ride::start(server);
    let sessions = ride.sessions("a failed login", |now| now.trouble.is_some()).await;
    assert!(sessions.current.is_none());
    sessions.trouble.unwrap().to_string()
}

fn bao() -> OpenBao {
    let bao = OpenBao::start();
    bao.put_secret("db", &json!({"password": "one"}));
    bao
}

/// The answer to a request, wrapped.
fn wrapped(bao: &OpenBao, path: &str, body: &Value) -> String {
    let rest = bao.rest_with(bao.root_token()).header("x-vault-wrap-ttl: 300s");
    rest.post(path, body).json()["wrap_info"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn approle_logs_in_and_says_what_is_wrong() {
    let (bao, files) = (bao(), Files::new());
    let auth = approle(&bao, &files, 600, 3600);
    let ride = works(&server(&bao.url(), auth.clone())).await;
    let session = ride.tokens.current().unwrap();
    assert_eq!(session.policies, ["app", "default"]);
    assert!(session.renewable);
    ride.tokens.end().await;
    let looked_up = json!({"accessor": session.accessor});
    assert_ne!(
        bao.post("/v1/auth/token/lookup-accessor", &looked_up).status,
        200,
        "revoked at exit"
    );

    files.write("secret-id", "not-the-one");
    let trouble = login_trouble(&server(&bao.url(), auth.clone())).await;
    let expected = format!("cannot log in to {} at auth/approle/login: status 400", bao.url());
    assert!(trouble.starts_with(&expected) && trouble.contains("role id"), "{trouble}");
    assert!(!trouble.contains("not-the-one"), "{trouble}");
    std::fs::remove_file(files.path("secret-id")).unwrap();
    let trouble = login_trouble(&server(&bao.url(), auth)).await;
    assert!(trouble.contains("secret-id: No such file"), "{trouble}");
}

#[tokio::test]
async fn a_wrapped_secret_id_is_used_once_and_serves_for_further_logins() {
    let (bao, files) = (bao(), Files::new());
    let Auth::AppRole { mount, role_id, secret_id, .. } = approle(&bao, &files, 600, 3600) else {
        unreachable!()
    };
    let auth = Auth::AppRole { mount, role_id, secret_id, wrapped: true, remove: true };
    let token = wrapped(&bao, "/v1/auth/approle/role/app/secret-id", &json!({}));
    files.write("secret-id", &token);
    let ride = works(&server(&bao.url(), auth.clone())).await;
    assert!(!files.path("secret-id").exists());
    let first = ride.tokens.current().unwrap();
    post(&bao, "/v1/auth/token/revoke-accessor", &json!({"accessor": first.accessor}));
    assert!(ride.fetch("secret/db").await.unwrap_err().to_string().contains("revoked"));
    ride.session_after(Some(&first)).await;
    assert!(ride.fetch_eventually("secret/db").await.session > first.id);

    files.write("secret-id", &token);
    let trouble = login_trouble(&server(&bao.url(), auth.clone())).await;
    assert!(trouble.contains("it was used before, or its time is over"), "{trouble}");
    let planted = wrapped(&bao, "/v1/sys/wrapping/wrap", &json!({"secret_id": "theirs"}));
    files.write("secret-id", &planted);
    let trouble = login_trouble(&server(&bao.url(), auth)).await;
    assert!(trouble.contains("was made by \"sys/wrapping/wrap\""), "{trouble}");
    assert!(!trouble.contains(&planted), "{trouble}");
}

#[tokio::test]
async fn wrapping_works_in_a_namespace() {
    let (bao, files) = (OpenBao::start(), Files::new());
    post(&bao, "/v1/sys/namespaces/team", &json!({}));
    let inside = bao.rest_with(bao.root_token()).header("x-vault-namespace: team");
    let made = inside
        .header("x-vault-wrap-ttl: 300s")
        .post("/v1/auth/token/create", &json!({"policies": ["default"], "ttl": "300s"}))
        .json();
    let path = files.write("token", made["wrap_info"]["token"].as_str().unwrap());
    let mut server = server(&bao.url(), Auth::TokenFile { path, wrapped: true });
    server.namespace = Some("team".to_owned());
    let session = Ride::start(&server).session_after(None).await;
    assert_eq!(session.policies, ["default"]);
}

#[tokio::test]
async fn a_jwt_is_read_anew_for_each_login() {
    let (bao, files) = (bao(), Files::new());
    allow_app(&bao);
    let key = rcgen::KeyPair::generate().unwrap();
    post(&bao, "/v1/sys/auth/jwt", &json!({"type": "jwt"}));
    let config = json!({"jwt_validation_pubkeys": [key.public_key_pem()]});
    post(&bao, "/v1/auth/jwt/config", &config);
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["pillion"],
        "token_policies": "app",
    });
    post(&bao, "/v1/auth/jwt/role/app", &role);
    let path = files.write("jwt", &jwt(&key, "somebody-else"));
    let auth = Auth::Jwt { mount: "jwt".to_owned(), role: "app".to_owned(), path };
    let ride = Ride::start(&server(&bao.url(), auth));
    let sessions = ride.sessions("a failed login", |now| now.trouble.is_some()).await;
    let trouble = sessions.trouble.unwrap().to_string();
    assert!(trouble.contains("auth/jwt/login: status 400"), "{trouble}");
    files.write("jwt", &jwt(&key, "pillion"));
    ride.session_after(None).await;
    assert_eq!(text(&ride.fetch_eventually("secret/db").await.fetched, "password"), "one");
}

fn jwt(key: &rcgen::KeyPair, audience: &str) -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT"}"#);
    let claims = json!({"sub": "pod", "aud": audience, "iat": now - 5, "exp": now + 600});
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let der = key.serialize_der();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_client_certificate_logs_in_over_tls() {
    let bao = OpenBao::start_tls();
    bao.put_secret("db", &json!({"password": "one"}));
    allow_app(&bao);
    post(&bao, "/v1/sys/auth/cert", &json!({"type": "cert"}));
    let authority = bao.authority();
    let ca = std::fs::read_to_string(authority.certificate()).unwrap();
    let role = json!({"certificate": ca, "allowed_common_names": "app", "token_policies": "app"});
    post(&bao, "/v1/auth/cert/certs/app", &role);
    let auth = |name: &str, role: Option<&str>| {
        let identity = authority.client(name, &format!("/CN={name}"));
        Auth::Certificate {
            mount: "cert".to_owned(),
            role: role.map(str::to_owned),
            certificate: identity.certificate,
            key: identity.key,
        }
    };
    for role in [Some("app"), None] {
        let mut server = server(&bao.url(), auth("app", role));
        server.ca = Some(authority.certificate());
        works(&server).await;
    }
    let mut server = server(&bao.url(), auth("stranger", Some("app")));
    server.ca = Some(authority.certificate());
    let trouble = login_trouble(&server).await;
    assert!(trouble.contains(" at auth/cert/login: status 4"), "{trouble}");
    server.ca = Some(auth_files(&auth("other", None)));
    let trouble = login_trouble(&server).await;
    assert!(trouble.contains("cannot connect to https://"), "{trouble}");
}

fn auth_files(auth: &Auth) -> std::path::PathBuf {
    match auth {
        Auth::Certificate { certificate, .. } => certificate.clone(),
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn a_token_file_is_followed_and_the_old_token_kept_until_it_is_released() {
    let (bao, files) = (bao(), Files::new());
    allow_app(&bao);
    let path = files.write("token", &bao.token("app", 600));
    let ride = works(&server(&bao.url(), token_file(&path))).await;
    let first = ride.tokens.current().unwrap();
    files.write("token", &bao.token("app", 600));
    let second = ride.session_after(Some(&first)).await;
    assert_ne!(first.token, second.token);
    let sessions = ride.sessions("the old token", |now| now.old.len() == 1).await;
    assert_eq!(sessions.old[0].id, first.id);
    ride.tokens.release(first.id).await;
    ride.sessions("no old token", |now| now.old.is_empty()).await;
    ride.tokens.end().await;
    let first = first.token.reveal_text().unwrap();
    let looked_up = bao.rest_with(first).get("/v1/auth/token/lookup-self");
    assert_eq!(looked_up.status, 200, "it belongs to whoever wrote the file");
}

#[tokio::test]
async fn a_wrapped_token_is_unwrapped_once() {
    let (bao, files) = (bao(), Files::new());
    allow_app(&bao);
    let wanted = json!({"policies": ["app"], "ttl": "600s"});
    let path = files.write("token", &wrapped(&bao, "/v1/auth/token/create", &wanted));
    let server = server(&bao.url(), Auth::TokenFile { path, wrapped: true });
    works(&server).await;
    let trouble = login_trouble(&server).await;
    assert!(trouble.contains("it was used before"), "{trouble}");
}

#[tokio::test]
async fn a_service_account_of_kubernetes_logs_in() {
    let (kubernetes, bao, files) = (KubeApiServer::start(), bao(), Files::new());
    allow_app(&bao);
    for account in ["app", "other", "reviewer"] {
        kubernetes.create_service_account(account);
    }
    kubernetes.bind("reviewer", "system:auth-delegator");
    post(&bao, "/v1/sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    let config = json!({
        "kubernetes_host": kubernetes.url(),
        "kubernetes_ca_cert": std::fs::read_to_string(kubernetes.authority().certificate()).unwrap(),
        "token_reviewer_jwt": kubernetes.token("reviewer", &[]),
    });
    post(&bao, "/v1/auth/kubernetes/config", &config);
    let role = json!({
        "bound_service_account_names": "app",
        "bound_service_account_namespaces": "default",
        "audience": KubeApiServer::ISSUER,
        "token_policies": "app",
    });
    post(&bao, "/v1/auth/kubernetes/role/app", &role);
    let path = files.write("token", &kubernetes.token("app", &[]));
    let (mount, role) = ("kubernetes".to_owned(), "app".to_owned());
    let server = server(&bao.url(), Auth::Kubernetes { mount, role, path });
    works(&server).await;
    files.write("token", &kubernetes.token("other", &[]));
    let trouble = login_trouble(&server).await;
    assert!(trouble.contains("refuses the login – service account name"), "{trouble}");
}
