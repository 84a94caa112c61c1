//! The server with the secrets that are delivered: OpenBao in development mode, in memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::child::Running;
use crate::failure::{Doing, Failure};
use crate::{http, setup};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const ROOT_TOKEN: &str = "bench-root-token";

/// A running server with version 2 of the KV engine at `secret/`.
pub(super) struct OpenBao {
    port: u16,
    token_file: PathBuf,
    /// Ends it when dropped.
    _running: Running,
}

impl OpenBao {
    /// Starts it on the core of the caller, its token in a file in `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let token_file = folder.join("openbao-token");
        std::fs::write(&token_file, ROOT_TOKEN).doing("writing the token of OpenBao")?;
        let [port] = http::free_ports()?;
        let mut command = Command::new(setup::openbao()?);
        command.args(["server", "-dev", "-dev-no-store-token"]);
        command.arg(format!("-dev-root-token-id={ROOT_TOKEN}"));
        command.arg(format!("-dev-listen-address={}", http::local(port)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running::start(&mut command, None)?;
        let address = http::local(port);
        http::wait_ready(&mut running, address, "/v1/sys/health", READY_TIMEOUT)
            .doing("starting OpenBao")?;
        Ok(Self { port, token_file, _running: running })
    }

    /// Its address as a URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", http::local(self.port))
    }

    /// A file with a token that may do anything.
    pub(super) fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Writes a new version of the secret `secret/NAME`.
    pub(super) fn put(&self, name: &str, data: &Value) -> Result<(), Failure> {
        let path = format!("/v1/secret/data/{name}");
        let headers = format!("x-vault-token: {ROOT_TOKEN}\r\n");
        let body = json!({ "data": data }).to_string();
        let response = http::post(http::local(self.port), &path, &headers, &body)?;
        match response.status {
            200 => Ok(()),
            status => Err(Failure::new(format!("OpenBao answers {status} to {path}"))),
        }
    }
}
