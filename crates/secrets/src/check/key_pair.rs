//! A certificate chain and a private key: whether a TLS server could be started with them.

use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode as _;
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

/// A warning when less than this part of a certificate's life is left.
const LAST_PART: u32 = 10;

/// What is wrong with a chain and its key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// No certificate.
    #[error("there is no certificate in PEM form in the first")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("certificate {0} of the first cannot be read")]
    Certificate(usize),
    /// No key.
    #[error("there is no private key in PEM form in the second")]
    NoKey,
    /// A key of a kind that TLS does not use here.
    #[error("the private key is of a kind that is not supported: {0}")]
    Key(rustls::Error),
    /// They are of different pairs.
    #[error("the private key does not belong to the first certificate")]
    Mismatch,
    /// A certificate in the wrong place.
    #[error("certificate {0} did not sign certificate {before}; each has to be followed by its issuer", before = .0 - 1)]
    Order(usize),
    /// Its time is over.
    #[error("certificate {number} has ended at {end}")]
    Ended {
        /// Which one, from 1.
        number: usize,
        /// When.
        end: Time,
    },
    /// Its time has not come.
    #[error("certificate {number} holds from {begin} on, which is not yet; is the clock right?")]
    Early {
        /// Which one, from 1.
        number: usize,
        /// From when.
        begin: Time,
    },
}

/// Checks a chain and a key, both in PEM form (RFC 7468). Returns what to worry about.
pub(super) fn check(
    chain: &[u8],
    key: &[u8],
    now: SystemTime,
) -> Result<Option<String>, PairError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .enumerate()
        .map(|(at, der)| der.map_err(|_| PairError::Certificate(at + 1)))
        .collect::<Result<_, _>>()?;
    let certificates = chain
        .iter()
        .enumerate()
        .map(|(at, der)| Certificate::from_der(der).map_err(|_| PairError::Certificate(at + 1)))
        .collect::<Result<Vec<_>, _>>()?;
    let first = certificates.first().ok_or(PairError::NoCertificate)?;
    let warning = warning(first.tbs_certificate().validity(), now);
    fits(chain, key)?;
    for (number, certificate) in (1..).zip(&certificates) {
        holds(number, certificate.tbs_certificate(), now)?;
    }
    for (number, pair) in (2..).zip(certificates.windows(2)) {
        if let [one, next] = pair
            && one.tbs_certificate().issuer() != next.tbs_certificate().subject()
        {
            return Err(PairError::Order(number));
        }
    }
    Ok(warning)
}

fn fits(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<(), PairError> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey)?;
    let key = any_supported_type(&key).map_err(PairError::Key)?;
    match CertifiedKey::new(chain, key).keys_match() {
        // Unknown: a kind of key that cannot tell; a server would take it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::Mismatch),
        Err(_) => Err(PairError::Certificate(1)),
    }
}

fn holds(number: usize, certificate: &TbsCertificate, now: SystemTime) -> Result<(), PairError> {
    let validity = certificate.validity();
    if now > at(validity.not_after) {
        return Err(PairError::Ended { number, end: validity.not_after });
    }
    if now < at(validity.not_before) {
        return Err(PairError::Early { number, begin: validity.not_before });
    }
    Ok(())
}

fn warning(validity: &Validity, now: SystemTime) -> Option<String> {
    let between =
        |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or(Duration::ZERO);
    let life = between(at(validity.not_before), at(validity.not_after));
    let left = between(now, at(validity.not_after));
    (left < life / LAST_PART)
        .then(|| format!("the certificate ends soon, at {}", validity.not_after))
}

fn at(time: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(time.to_unix_duration()).unwrap_or(SystemTime::UNIX_EPOCH)
}
