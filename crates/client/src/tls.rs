//! Trust and identity of a client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Whom a client trusts, and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate authorities that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, where it is not the host of the URL.
    pub server_name: Option<String>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no such thing.
    #[error("{}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate authorities of the system cannot be read.
    #[error("the certificate authorities of this system cannot be read: {0}; name a file instead")]
    System(String),
    /// What was read does not fit together.
    #[error("the TLS settings do not fit: {0}")]
    Unfit(#[from] rustls::Error),
    /// No authority at all.
    #[error("no certificate authority to trust: {0}")]
    NoTrust(#[from] rustls::client::VerifierBuilderError),
    /// The name of the server is none.
    #[error("{0} is not a name that a certificate can have")]
    Name(String),
}

/// What to do about this error, where it is one of TLS whose own words do not say that.
pub(crate) fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref()? {
        rustls::Error::InvalidMessage(_) => Some(
            "the other side does not speak TLS: write the URL without it, or name another port",
        ),
        // Another authority of the same name makes it a bad signature.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            Some("no authority that is trusted signed its certificate: name its authority with ca")
        }
        _ => None,
    }
}

impl Tls {
    /// The settings for rustls. Protocols of the application layer are left to the connector.
    pub(crate) fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(self.roots()?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(verifier);
        Ok(match &self.identity {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(chain(certificate)?, private_key(key)?)?
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in chain(path)? {
                    roots.add(certificate)?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                if let (true, Some(error)) = (found.certs.is_empty(), found.errors.first()) {
                    return Err(TlsError::System(error.to_string()));
                }
                // Some systems carry one that no longer parses; the others stand.
                roots.add_parsable_certificates(found.certs);
            }
        }
        Ok(roots)
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| at(path, &error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    match certificates.is_empty() {
        true => Err(TlsError::File {
            path: path.to_owned(),
            reason: "no certificate in PEM form".to_owned(),
        }),
        false => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    use rustls::pki_types::pem::Error;
    let reason = match error {
        Error::Io(error) if error.kind() == io::ErrorKind::NotFound => "no such file".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "nothing in PEM form that fits here".to_owned(),
        other => format!("not PEM: {other}"),
    };
    TlsError::File { path: path.to_owned(), reason }
}
