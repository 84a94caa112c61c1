//! Trust and identity.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use pillion_client::{Client, Error, Options, Tls, dial};
use pillion_testkit::ClosedPort;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::server::{Act, Server, ok};

/// An authority, and a folder for PEM files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: TempDir::with_prefix("pillion-client-").unwrap() }
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    /// A server for `name` that wants a client certificate, or does not.
    fn server(&self, name: &str, wants_certificate: bool) -> Server {
        let signed = self.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match wants_certificate {
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            false => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
        Server::tls(Act::Answer(ok("hello")), builder.with_single_cert(chain, key).unwrap())
    }
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}", server.address.port())
}

async fn get(url: &str, tls: Tls) -> Result<Bytes, Error> {
    let options = Options { tls, ..Options::default() };
    let client = Client::new(url.parse().unwrap(), &options).unwrap();
    let request = Request::get("/").body(Bytes::new()).unwrap();
    client.send(request).await.map(http::Response::into_body)
}

#[tokio::test]
async fn a_server_is_trusted_by_the_named_authority_alone() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.server("localhost", false);
    let trusting = |ca| Tls { ca, ..Tls::default() };
    assert_eq!(get(&url(&server), trusting(Some(ours.ca()))).await.unwrap().as_ref(), b"hello");
    for ca in [Some(theirs.ca()), None] {
        let error = get(&url(&server), trusting(ca)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("no authority that is trusted signed its certificate"), "{text}");
    }
}

#[tokio::test]
async fn a_bare_connection_knows_whom_to_trust_and_under_which_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.server("bao.internal", false);
    let address = format!("localhost:{}", server.address.port());
    for (authority, name, expected) in [
        (&ours, Some("bao.internal"), None),
        (&ours, None, Some("certificate not valid for name")),
        (&theirs, Some("bao.internal"), Some("name its authority with ca")),
    ] {
        let server_name = name.map(str::to_owned);
        let tls = Tls { ca: Some(authority.ca()), server_name, ..Tls::default() };
        let error = dial(&address, Some(&tls), Duration::from_secs(20)).await.err();
        let error = error.map(|error| error.to_string());
        let says = |words| error.as_ref().is_some_and(|error| error.contains(words));
        assert!(expected.map_or(error.is_none(), says), "{name:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_name_of_the_server_is_that_of_the_url_or_the_one_that_is_given() {
    let authority = Authority::new();
    let server = authority.server("bao.internal", false);
    let named = |name: Option<&str>| Tls {
        ca: Some(authority.ca()),
        server_name: name.map(str::to_owned),
        ..Tls::default()
    };
    let answer = get(&url(&server), named(Some("bao.internal"))).await.unwrap();
    assert_eq!(answer.as_ref(), b"hello");
    for name in [None, Some("other.internal")] {
        let error = get(&url(&server), named(name)).await.unwrap_err().to_string();
        assert!(error.contains("certificate not valid for name"), "{error}");
        assert!(error.contains("bao.internal"), "it says whose it is: {error}");
    }
}

#[tokio::test]
async fn a_server_may_want_to_know_who_we_are() {
    let authority = Authority::new();
    let server = authority.server("localhost", true);
    let ours = authority.sign("app", ExtendedKeyUsagePurpose::ClientAuth);
    let identity =
        (authority.file("app.crt", &ours.certificate), authority.file("app.key", &ours.key));
    let tls = Tls { ca: Some(authority.ca()), ..Tls::default() };
    let error = get(&url(&server), tls.clone()).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let known = Tls { identity: Some(identity), ..tls };
    assert_eq!(get(&url(&server), known).await.unwrap().as_ref(), b"hello");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let port = ClosedPort::new();
    port.listen(16);
    let connect_timeout = Duration::from_millis(200);
    let authority = Authority::new();
    let tls = Tls { ca: Some(authority.ca()), ..Tls::default() };
    let options = Options { tls, connect_timeout, ..Options::default() };
    let url = format!("https://{}", port.address());
    let client = Client::new(url.parse().unwrap(), &options).unwrap();
    let request = Request::get("/").body(Bytes::new()).unwrap();
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect to {url}: no connection within 200ms"));
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // It ends with the process of the test.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _greeting = stream.read_to_end(&mut Vec::new());
        }
    });
    let authority = Authority::new();
    let tls = Tls { ca: Some(authority.ca()), ..Tls::default() };
    let error = get(&url, tls).await.unwrap_err().to_string();
    assert!(
        error.ends_with("does not speak TLS: write the URL without it, or name another port"),
        "{error}"
    );
}

#[test]
fn files_that_do_not_fit_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    let one = authority.sign("one", ExtendedKeyUsagePurpose::ClientAuth);
    let two = authority.sign("two", ExtendedKeyUsagePurpose::ClientAuth);
    let (certificate, key) =
        (authority.file("1.crt", &one.certificate), authority.file("2.key", &two.key));
    let (empty, missing) = (authority.file("empty", ""), authority.folder.path().join("missing"));
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let broken = authority.file("broken", &format!("{begin}???\n-----END CERTIFICATE-----\n"));
    let ca = |path: &PathBuf| Tls { ca: Some(path.clone()), ..Tls::default() };
    let identity = |certificate: &PathBuf, key: &PathBuf| Tls {
        ca: Some(authority.ca()),
        identity: Some((certificate.clone(), key.clone())),
        ..Tls::default()
    };
    let name = Tls { server_name: Some("a b".to_owned()), ..ca(&authority.ca()) };
    for (tls, words) in [
        (ca(&missing), "missing: no such file"),
        (ca(&empty), "empty: no certificate in PEM form"),
        (ca(&broken), "broken: not PEM"),
        (ca(&key), "2.key: no certificate in PEM form"),
        (identity(&missing, &key), "missing: no such file"),
        (identity(&certificate, &certificate), "1.crt: nothing in PEM form that fits here"),
        (identity(&certificate, &key), "the TLS settings do not fit"),
        (name, "a b is not a name that a certificate can have"),
    ] {
        let options = Options { tls, ..Options::default() };
        let error = Client::new("https://localhost".parse().unwrap(), &options).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}
