//! The API server of Kubernetes knows whose a token is.

use pillion_testkit::{KubeApiServer, OpenBao};
use serde_json::json;

#[test]
fn a_minted_token_belongs_to_its_service_account() {
    let kubernetes = KubeApiServer::start();
    kubernetes.create_service_account("app");
    let token = kubernetes.token("app", &[]);
    let review = kubernetes.review(&token);
    assert_eq!(review["authenticated"], true, "{review}");
    assert_eq!(review["user"]["username"], "system:serviceaccount:default:app");
    assert_eq!(kubernetes.review(&format!("{token}x"))["authenticated"], json!(null));
    assert_eq!(kubernetes.review(&kubernetes.token("app", &["bao"]))["authenticated"], json!(null));

    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(kubernetes.rest_with(&token).get(secrets).status, 403);
    assert_eq!(kubernetes.rest_with("nonsense").get(secrets).status, 401);
}

#[test]
fn openbao_lets_a_service_account_in() {
    let (kubernetes, bao) = (KubeApiServer::start(), OpenBao::start());
    kubernetes.create_service_account("app");
    kubernetes.create_service_account("reviewer");
    kubernetes.bind("reviewer", "system:auth-delegator");
    assert_eq!(bao.post("/v1/sys/auth/kubernetes", &json!({"type": "kubernetes"})).status, 204);
    let certificate = std::fs::read_to_string(kubernetes.authority().certificate()).unwrap();
    let config = json!({
        "kubernetes_host": kubernetes.url(),
        "kubernetes_ca_cert": certificate,
        "token_reviewer_jwt": kubernetes.token("reviewer", &[]),
    });
    assert_eq!(bao.post("/v1/auth/kubernetes/config", &config).status, 204);
    let role = json!({
        "bound_service_account_names": "app",
        "bound_service_account_namespaces": "default",
        "audience": KubeApiServer::ISSUER,
        "token_ttl": "1m",
    });
    assert_eq!(bao.post("/v1/auth/kubernetes/role/app", &role).status, 204);
    let login = |account: &str| {
        let login = json!({"role": "app", "jwt": kubernetes.token(account, &[])});
        bao.rest().post("/v1/auth/kubernetes/login", &login)
    };
    let let_in = login("app").json();
    assert!(let_in["auth"]["client_token"].is_string(), "{let_in}");
    assert_eq!(login("reviewer").status, 403);
}
