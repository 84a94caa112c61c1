//! OpenBao: keeps secrets, and survives its own death with them.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Peer, tool};
use crate::{Answer, Authority, Rest, eventually, free_address};

/// A server with storage in files, unsealed, with version 2 of the KV engine at `secret/`.
///
/// It is a real server, not the one for development: it can be sealed, killed, and started again
/// on the same address with what it had stored.
pub struct OpenBao {
    /// The process.
    pub peer: Peer,
    _folder: TempDir,
    authority: Option<Authority>,
    address: SocketAddr,
    unseal_key: String,
    root_token: String,
}

impl OpenBao {
    /// Starts one that speaks HTTP.
    pub fn start() -> Self {
        Self::initialised(free_address(), None)
    }

    /// Starts one that speaks HTTPS, with a certificate of an authority of its own.
    pub fn start_tls() -> Self {
        Self::initialised(free_address(), Some(Authority::new()))
    }

    fn initialised(address: SocketAddr, authority: Option<Authority>) -> Self {
        let folder = TempDir::with_prefix("pillion-openbao-").unwrap();
        std::fs::create_dir(folder.path().join("storage")).unwrap();
        let config = configuration(folder.path(), address, authority.as_ref());
        let file = folder.path().join("bao.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let file = format!("-config={}", file.display());
        let peer = Peer::start(&tool("bao"), ["server", &file]);
        let (unseal_key, root_token) = Default::default();
        let mut bao = Self { peer, _folder: folder, authority, address, unseal_key, root_token };
        bao.wait_until_it_answers();
        let keys =
            bao.rest().post("/v1/sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
        let keys = keys.json();
        bao.unseal_key = keys["keys"][0].as_str().unwrap().to_owned();
        bao.root_token = keys["root_token"].as_str().unwrap().to_owned();
        bao.unseal();
        let kv = json!({"type": "kv", "options": {"version": "2"}});
        assert_eq!(bao.post("/v1/sys/mounts/secret", &kv).status, 204);
        // The engine answers 400 until it has prepared its storage.
        eventually("the KV engine", || bao.get("/v1/secret/config").status == 200);
        bao
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The authority that signed its certificate, with [`Self::start_tls`].
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("start_tls")
    }

    /// Opens its storage after a start.
    pub fn unseal_key(&self) -> &str {
        &self.unseal_key
    }

    /// May do anything.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// A client without a token.
    pub fn rest(&self) -> Rest {
        let rest = Rest::new(self.url());
        match &self.authority {
            Some(authority) => rest.trusting(authority.certificate()),
            None => rest,
        }
    }

    /// A client with this token.
    pub fn rest_with(&self, token: &str) -> Rest {
        self.rest().header(format!("x-vault-token: {token}"))
    }

    /// GET with the root token; the path begins with `/v1/`.
    pub fn get(&self, path: &str) -> Answer {
        self.rest_with(&self.root_token).get(path)
    }

    /// POST with the root token; the path begins with `/v1/`.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.rest_with(&self.root_token).post(path, body)
    }

    /// Writes a new version of a secret of `secret/`.
    pub fn put_secret(&self, name: &str, data: &Value) {
        self.post(&format!("/v1/secret/data/{name}"), &json!({ "data": data })).json();
    }

    /// Makes a policy, or replaces it.
    pub fn put_policy(&self, name: &str, text: &str) {
        let put = self.post(&format!("/v1/sys/policies/acl/{name}"), &json!({ "policy": text }));
        assert_eq!(put.status, 204, "{put:?}");
    }

    /// Makes a token with this policy that lives for so many seconds, and can be renewed.
    pub fn token(&self, policy: &str, ttl_seconds: u32) -> String {
        let wanted = json!({"policies": [policy], "ttl": format!("{ttl_seconds}s")});
        let made = self.post("/v1/auth/token/create", &wanted).json();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Whether it is sealed.
    pub fn is_sealed(&self) -> bool {
        self.rest().get("/v1/sys/seal-status").json()["sealed"] == true
    }

    /// From now on it refuses everything until [`Self::unseal`].
    pub fn seal(&self) {
        let sealed = self.post("/v1/sys/seal", &json!({}));
        assert_eq!(sealed.status, 204, "{sealed:?}");
    }

    /// Opens its storage, and waits until it serves.
    pub fn unseal(&self) {
        self.rest().post("/v1/sys/unseal", &json!({ "key": self.unseal_key })).json();
        eventually("an active OpenBao", || self.rest().get("/v1/sys/health").status == 200);
    }

    /// Kills it if it runs, and starts it again on the same address with the same storage: sealed,
    /// as it always starts.
    pub fn restart(&mut self) {
        self.peer.restart();
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let rest = self.rest();
        self.peer.wait_until_ready(|_| rest.ask("GET", "/v1/sys/seal-status", "").is_ok());
    }
}

fn configuration(folder: &Path, address: SocketAddr, authority: Option<&Authority>) -> Value {
    let mut listener = match authority {
        Some(authority) => {
            let identity = authority.server("openbao", address.ip());
            json!({
                "address": address.to_string(),
                "tls_cert_file": identity.certificate,
                "tls_key_file": identity.key,
            })
        }
        None => json!({"address": address.to_string(), "tls_disable": true}),
    };
    let members = free_address();
    listener["cluster_address"] = json!(members.to_string());
    let scheme = if authority.is_some() { "https" } else { "http" };
    json!({
        "storage": {"raft": {
            "path": folder.join("storage"),
            "node_id": "one",
            // Alone, it need not wait long for the votes of others.
            "performance_multiplier": 1,
        }},
        "listener": {"tcp": listener},
        "api_addr": format!("{scheme}://{address}"),
        "cluster_addr": format!("https://{members}"),
    })
}
