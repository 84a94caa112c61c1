//! How long a certificate holds.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::der::Decode as _;

/// The end of the first certificate of a PEM text (RFC 5280, `notAfter`); `None` where there is
/// none that can be read.
pub(crate) fn not_after(pem: &[u8]) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let certificate = x509_cert::Certificate::from_der(&der).ok()?;
    let not_after = certificate.tbs_certificate().validity().not_after;
    SystemTime::UNIX_EPOCH.checked_add(not_after.to_unix_duration())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let mut params = rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2033, 5, 18);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_999_987_200);
        assert_eq!(not_after(pem.as_bytes()), Some(end));
        let text = key.serialize_pem();
        for other in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &text] {
            assert_eq!(not_after(other.as_bytes()), None);
        }
    }
}
