//! A client of the interfaces that peers have: JSON over HTTP or HTTPS, by curl.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{PATIENCE, tool};

/// What a server has to say to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is something else, or the status is not one of success.
    pub fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A server, and what goes with every request to it.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    options: Vec<String>,
}

impl Rest {
    /// The server at this address, such as `http://127.0.0.1:8200`.
    pub fn new(base: impl Into<String>) -> Self {
        Self { base: base.into(), options: Vec::new() }
    }

    /// Trusts the certificate of this authority, and no other.
    #[must_use]
    pub fn trusting(self, authority: impl Into<PathBuf>) -> Self {
        self.option("--cacert", authority.into().display().to_string())
    }

    /// Shows a certificate and its key, both PEM files.
    #[must_use]
    pub fn identified_by(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.option("--cert", certificate.into().display().to_string())
            .option("--key", key.into().display().to_string())
    }

    /// Adds a header field such as `x-vault-token: s.1234`.
    #[must_use]
    pub fn header(self, field: impl Into<String>) -> Self {
        self.option("--header", field.into())
    }

    fn option(mut self, name: &str, value: String) -> Self {
        self.options.extend([name.to_owned(), value]);
        self
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string())
    }

    /// Any request; a body is said to be JSON.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {}{path}: {error}", self.base))
    }

    /// Any request; a body is said to be JSON.
    ///
    /// # Errors
    /// What curl says when nobody answers.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let mut curl = Command::new(tool("curl"));
        curl.args(["--silent", "--show-error", "--globoff", "--noproxy", "*"]);
        curl.args(["--max-time", &PATIENCE.as_secs().to_string()]);
        curl.args(["--write-out", "\n%{http_code}", "--request", method]);
        curl.args(&self.options).arg(format!("{}{path}", self.base));
        if !body.is_empty() {
            curl.args(["--header", "content-type: application/json", "--data-binary", "@-"]);
        }
        curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = curl.spawn().unwrap();
        // curl may end before it has read everything, and says why itself.
        drop(child.stdin.take().unwrap().write_all(body.as_bytes()));
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let (text, status) = text.rsplit_once('\n').unwrap();
        Ok(Answer { status: status.parse().unwrap(), text: text.to_owned() })
    }
}
