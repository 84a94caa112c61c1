//! The API server of Kubernetes, without a cluster: objects, tokens and who they belong to.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Etcd, Peer, tool};
use crate::{Authority, Identity, Rest, free_address};

/// An API server over HTTPS, with RBAC, and an etcd of its own. No controller runs: what a
/// Deployment or an owner reference asks for does not happen.
pub struct KubeApiServer {
    /// The process.
    pub peer: Peer,
    authority: Authority,
    admin: Identity,
    address: SocketAddr,
    _etcd: Etcd,
    _folder: TempDir,
}

impl KubeApiServer {
    /// The `iss` of the tokens that it makes, and their `aud` where none is asked for.
    pub const ISSUER: &str = "https://kubernetes.default.svc";

    /// Starts it with the objects that are always there.
    pub fn start() -> Self {
        let (etcd, authority) = (Etcd::start(), Authority::new());
        let folder = TempDir::with_prefix("pillion-kube-").unwrap();
        let address = free_address();
        let server = authority.server("kubernetes.default.svc", address.ip());
        let admin = authority.client("admin", "/O=system:masters/CN=admin");
        let tokens = authority.client("tokens", "/CN=tokens");
        let arguments = [
            ("etcd-servers", format!("http://{}", etcd.address())),
            ("bind-address", address.ip().to_string()),
            ("secure-port", address.port().to_string()),
            // No Service leads to it: an address for examples will do.
            ("advertise-address", "192.0.2.1".to_owned()),
            ("endpoint-reconciler-type", "none".to_owned()),
            ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            ("authorization-mode", "RBAC".to_owned()),
            ("tls-cert-file", server.certificate.display().to_string()),
            ("tls-private-key-file", server.key.display().to_string()),
            ("client-ca-file", authority.certificate().display().to_string()),
            ("service-account-issuer", Self::ISSUER.to_owned()),
            ("service-account-key-file", tokens.certificate.display().to_string()),
            ("service-account-signing-key-file", tokens.key.display().to_string()),
            ("cert-dir", folder.path().display().to_string()),
        ];
        let arguments = arguments.map(|(name, value)| format!("--{name}={value}"));
        let peer = Peer::start(&tool("kube-apiserver"), arguments);
        let mut server = Self { peer, authority, admin, address, _etcd: etcd, _folder: folder };
        server.wait_until_ready();
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that signed its certificate, and whose clients it trusts: the subject is
    /// `/O=GROUP/CN=USER`.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A client that may do anything.
    pub fn rest(&self) -> Rest {
        self.anonymous().identified_by(&self.admin.certificate, &self.admin.key)
    }

    /// A client with this token.
    pub fn rest_with(&self, token: &str) -> Rest {
        self.anonymous().header(format!("authorization: Bearer {token}"))
    }

    fn anonymous(&self) -> Rest {
        Rest::new(self.url()).trusting(self.authority.certificate())
    }

    /// Makes a service account in the namespace `default`.
    pub fn create_service_account(&self, name: &str) {
        let account = json!({"metadata": {"name": name}});
        self.rest().post("/api/v1/namespaces/default/serviceaccounts", &account).json();
    }

    /// Lets a service account of the namespace `default` have the rights of a cluster role, such as
    /// `system:auth-delegator`.
    pub fn bind(&self, account: &str, cluster_role: &str) {
        let binding = json!({
            "metadata": {"name": account},
            "roleRef": {"kind": "ClusterRole", "name": cluster_role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
        });
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        self.rest().post(path, &binding).json();
    }

    /// A token of a service account of the namespace `default`, for these audiences (its own where
    /// there is none), as a kubelet gets it for a projected volume: good for ten minutes, the least
    /// that it grants.
    pub fn token(&self, account: &str, audiences: &[&str]) -> String {
        let wanted = json!({"spec": {"audiences": audiences, "expirationSeconds": 600}});
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
        let made = self.rest().post(&path, &wanted).json();
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    /// What it knows of a token: the status of a TokenReview.
    pub fn review(&self, token: &str) -> Value {
        let review = json!({"spec": {"token": token}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        self.rest().post(path, &review).json()["status"].take()
    }

    /// Kills it if it runs, and starts it again on the same address with the same objects.
    pub fn restart(&mut self) {
        self.peer.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let rest = self.rest();
        // The namespace is made by the server itself, some time after it is ready.
        let paths = ["/readyz", "/api/v1/namespaces/default"];
        self.peer.wait_until_ready(|_| {
            let mut answers = paths.iter().map(|path| rest.ask("GET", path, ""));
            answers.all(|answer| answer.is_ok_and(|answer| answer.status == 200))
        });
    }
}
