//! Each kind of check, with what it lets in and what it refuses.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::store::FileName;

const LONG: Duration = Duration::from_secs(20);

fn draft(files: &[(&str, &str)]) -> Draft {
    let file = |(name, content): &(&str, &str)| DraftFile {
        name: FileName::new(*name).unwrap(),
        content: (*content).into(),
        mode: 0o400,
        owner: None,
    };
    Draft::new(files.iter().map(file).collect()).unwrap()
}

/// A moment in the year, as rcgen and the checks have it.
fn day(year: i32) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_secs(date_time_ymd(year, 6, 1).unix_timestamp().unsigned_abs())
}

async fn checked(
    rule: &SetCheck,
    files: &[(&str, &str)],
    now: SystemTime,
) -> Result<Vec<String>, String> {
    let folder = TempDir::new().unwrap();
    let draft = draft(files);
    let subject = Subject { draft: &draft, folder: folder.path(), limit: LONG, secrets: &[], now };
    check(rule, subject).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn documents_that_are_not_well_formed_are_refused_with_their_place() {
    let json = SetCheck::Json("f".to_owned());
    let yaml = SetCheck::Yaml("f".to_owned());
    let table = [
        (&json, "{\"a\": [1, 2.5e3, null]}\n", None),
        (&json, "\"text\"", None),
        (&json, "", Some("f is not well-formed JSON: line 1, column 0: EOF while parsing a value")),
        (
            &json,
            "{\n\"a\": hunter2}",
            Some("f is not well-formed JSON: line 2, column 6: expected value"),
        ),
        (&json, "{} {}", Some("f is not well-formed JSON: line 1, column 4: trailing characters")),
        (&yaml, "a: [1, 2]\nb: |\n  x\n---\nc\n", None),
        (&yaml, "", None),
        (&yaml, "a: [1\nb: hunter2", Some("f is not well-formed YAML: line 2, column ")),
        (&yaml, "a: b: c", Some("f is not well-formed YAML: line 1, column ")),
    ];
    for (rule, text, expected) in table {
        let result = checked(rule, &[("f", text)], SystemTime::now()).await;
        match expected {
            None => assert_eq!(result, Ok(Vec::new()), "{text:?}"),
            Some(start) => {
                let error = result.unwrap_err();
                assert!(error.starts_with(start), "{text:?}: {error}");
                assert!(!error.contains("hunter"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_check_of_a_file_that_is_not_there_is_a_failure() {
    let rules = [
        SetCheck::Json("no".to_owned()),
        SetCheck::Yaml("no".to_owned()),
        SetCheck::Schema { file: "no".to_owned(), schema: "/s".into() },
        SetCheck::KeyPair { certificate: "f".to_owned(), key: "no".to_owned() },
    ];
    for rule in rules {
        let error = checked(&rule, &[("f", "")], SystemTime::now()).await.unwrap_err();
        assert!(error.starts_with("no is to be checked, but"), "{error}");
    }
}

#[tokio::test]
async fn a_schema_refuses_with_places_and_without_values() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("schema.json");
    let rule = SetCheck::Schema { file: "f".to_owned(), schema: path.clone() };
    let shown = path.display();
    let schema = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object", "required": ["port"],
        "properties": {"port": {"$ref": "#/$defs/port"}, "key": {"type": "string", "pattern": "^k-"}},
        "$defs": {"port": {"type": "integer", "maximum": 65535}}
    }"##;
    let refused = format!("f: {shown} does not accept it: ");
    let table = [
        (schema, r#"{"port": 80, "key": "k-1"}"#, None),
        (schema, r#"{"port": 70000}"#, Some(format!("{refused}/port breaks #/$defs/port"))),
        (
            schema,
            r#"{"port": "hunter2", "key": "hunter2"}"#,
            Some(format!("{refused}/key breaks #/properties/key, /port breaks #/$defs/port")),
        ),
        (schema, "{}", Some(format!("{refused}the document breaks #"))),
        (schema, "{", Some("f: f is not well-formed JSON: ".to_owned())),
        ("{", "{}", Some(format!("f: {shown} is not a JSON Schema: "))),
        (r#"{"type": "shape"}"#, "{}", Some(format!("f: {shown} is not a JSON Schema: "))),
        (
            r#"{"$ref": "file:///etc/hostname"}"#,
            "{}",
            Some(format!("f: {shown} is not a JSON Schema: ")),
        ),
    ];
    for (schema, document, expected) in table {
        fs::write(&path, schema).unwrap();
        let result = checked(&rule, &[("f", document)], SystemTime::now()).await;
        match expected {
            None => assert_eq!(result, Ok(Vec::new()), "{document}"),
            Some(start) => {
                let error = result.unwrap_err();
                assert!(error.starts_with(&start), "{document}: {error}");
                assert!(!error.contains("hunter"), "{error}");
            }
        }
    }
    fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    let error = checked(&rule, &[("f", "{}")], SystemTime::now()).await.unwrap_err();
    assert!(error.ends_with("it has more than 1048576 bytes"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = checked(&rule, &[("f", "{}")], SystemTime::now()).await.unwrap_err();
    assert!(error.starts_with(&format!("f: cannot read the schema {shown}: ")), "{error}");
}

/// A chain of a server's certificate, an intermediate and a root, and the server's key.
struct Chain {
    server: String,
    middle: String,
    root: String,
    key: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Chain {
    fn new() -> Self {
        let root =
            CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let middle =
            CertifiedIssuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &root)
                .unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["app".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2035, 1, 1);
        let server = params.signed_by(&key, &middle).unwrap();
        Self {
            server: server.pem(),
            middle: middle.pem(),
            root: root.pem(),
            key: key.serialize_pem(),
        }
    }
}

#[tokio::test]
async fn a_key_pair_is_judged_by_key_order_and_time() {
    let Chain { server, middle, root, key } = Chain::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let table = [
        (format!("{server}{middle}{root}"), &key, 2030, None),
        (server.clone(), &key, 2030, None),
        (server.clone(), &other, 2030, Some("the private key does not belong to the first")),
        (format!("{middle}{server}"), &key, 2030, Some("the private key does not belong")),
        (format!("{server}{root}"), &key, 2030, Some("certificate 2 did not sign certificate 1")),
        (format!("{server}{root}{middle}"), &key, 2030, Some("certificate 2 did not sign")),
        (server.clone(), &key, 2036, Some("certificate 1 has ended at 2035-01-01T00:00:00Z")),
        (server.clone(), &key, 2024, Some("certificate 1 holds from 2025-01-01T00:00:00Z on")),
        (format!("{server}{middle}"), &key, 2041, Some("certificate 1 has ended")),
        (format!("{server}{garbage}"), &key, 2030, Some("certificate 2 of the first cannot be")),
        (String::new(), &key, 2030, Some("there is no certificate")),
        (key.clone(), &key, 2030, Some("there is no certificate")),
        (server.clone(), &server, 2030, Some("there is no private key")),
    ];
    let rule = SetCheck::KeyPair { certificate: "crt".to_owned(), key: "key".to_owned() };
    for (number, (chain, key, year, expected)) in table.into_iter().enumerate() {
        let result = checked(&rule, &[("crt", &chain), ("key", key)], day(year)).await;
        match expected {
            None => assert_eq!(result, Ok(Vec::new()), "{number}"),
            Some(start) => {
                let error = result.unwrap_err();
                assert!(error.starts_with(&format!("crt and key: {start}")), "{number}: {error}");
            }
        }
    }
    let bundle = [("both", &*format!("{server}{middle}{key}"))];
    let rule = SetCheck::KeyPair { certificate: "both".to_owned(), key: "both".to_owned() };
    assert_eq!(checked(&rule, &bundle, day(2030)).await, Ok(Vec::new()));
    let warned = checked(&rule, &bundle, day(2034)).await.unwrap();
    assert_eq!(warned, ["both: the certificate ends soon, at 2035-01-01T00:00:00Z"]);
}

#[tokio::test]
async fn a_command_decides_too() {
    let command = |script: &str| SetCheck::Command(["sh", "-c", script].map(str::to_owned).into());
    assert_eq!(checked(&command("exit 0"), &[], SystemTime::now()).await, Ok(Vec::new()));
    let error = checked(&command("echo no; exit 2"), &[], SystemTime::now()).await.unwrap_err();
    assert_eq!(error, "sh ended with code 2; it said: no");
}
