//! A certificate authority of a test's own, by openssl.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::tool;

/// Signs certificates that are good for a day.
pub struct Authority {
    folder: TempDir,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, a PEM file.
    pub certificate: PathBuf,
    /// Its key, a PEM file.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a key and a certificate for it.
    pub fn new() -> Self {
        let authority = Self { folder: TempDir::with_prefix("pillion-authority-").unwrap() };
        authority.request("authority", "/CN=authority of a test", &["-days", "1"]);
        authority
    }

    /// Its certificate, a PEM file that lives as long as this does.
    pub fn certificate(&self) -> PathBuf {
        self.file("authority", "crt")
    }

    /// A certificate for a server that is reached by `localhost` and this address.
    pub fn server(&self, name: &str, address: IpAddr) -> Identity {
        let names = format!("subjectAltName=DNS:localhost,DNS:{name},IP:{address}");
        self.sign(name, &format!("/CN={name}"), &["-addext", &names])
    }

    /// A certificate for a client, with a subject such as `/O=admins/CN=jane`, which has to be told
    /// from those of others by its `name`.
    pub fn client(&self, name: &str, subject: &str) -> Identity {
        self.sign(name, subject, &["-addext", "extendedKeyUsage=clientAuth"])
    }

    fn sign(&self, name: &str, subject: &str, further: &[&str]) -> Identity {
        let (certificate, key) = (self.certificate(), self.file("authority", "key"));
        let signed_by = [Path::new("-CA"), &certificate, Path::new("-CAkey"), &key];
        let signed_by = signed_by.map(|word| word.to_str().unwrap());
        let plain = ["-days", "1", "-addext", "basicConstraints=critical,CA:FALSE"];
        self.request(name, subject, &[&signed_by[..], &plain[..], further].concat());
        Identity { certificate: self.file(name, "crt"), key: self.file(name, "key") }
    }

    fn request(&self, name: &str, subject: &str, further: &[&str]) {
        let mut openssl = Command::new(tool("openssl"));
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-subj", subject]).args(further);
        openssl.arg("-keyout").arg(self.file(name, "key"));
        openssl.arg("-out").arg(self.file(name, "crt"));
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{ending}"))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
