//! The sealed cache: what goes in comes out, and nothing else does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{Cache, Server};
use pillion_runtime::board::Secret;
use pillion_runtime::causes::Causes;
use pillion_secrets::cache::{CacheError, CachedSession, Contents, SealedCache};
use pillion_secrets::fetched::{Datum, Fetched, Lease};
use pillion_secrets::template::Request;
use proptest::prelude::*;

use crate::bed::token_file;

const URL: &str = "https://bao.test:8200";

fn server(url: &str) -> Server {
    crate::bed::server(url, token_file(Path::new("token")))
}

fn settings(folder: &Path) -> Cache {
    Cache {
        path: folder.join("cache"),
        key: folder.join("key"),
        max_age: Duration::from_secs(3600),
    }
}

fn write_key(folder: &Path, key: &[u8], mode: u32) {
    let path = folder.join("key");
    let _absent = fs::remove_file(&path);
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn cache(folder: &Path) -> SealedCache {
    write_key(folder, &[7; 32], 0o400);
    SealedCache::new(&settings(folder), &server(URL)).unwrap()
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn contents(values: &[(String, Vec<u8>)]) -> Contents {
    let data = values.iter().enumerate().map(|(at, (key, value))| {
        let value = Secret::from(value.clone());
        (key.clone(), if at % 2 == 0 { Datum::Text(value) } else { Datum::Json(value) })
    });
    let lease =
        Lease { id: "l/1".into(), duration: Duration::from_millis(90_500), renewable: true };
    let leased = Fetched { data: data.collect(), lease: Some(lease), version: None, at: time(99) };
    let plain = Fetched { data: BTreeMap::new(), lease: None, version: Some(3), at: time(98) };
    let issue = Request {
        path: "pki/issue/web".into(),
        data: vec![("common_name".into(), "a.test".into())],
        version: Some(2),
    };
    Contents {
        answers: BTreeMap::from([(issue, leased), (Request::default(), plain)]),
        session: Some(CachedSession {
            token: Secret::from("s.token"),
            accessor: "acc".into(),
            expires: Some(time(5000)),
            renewable: true,
        }),
        at: time(100),
    }
}

/// All of it, since what is secret does not show itself.
fn revealed(contents: &Contents) -> String {
    let values = contents.answers.values().flat_map(|fetched| &fetched.data);
    let values: Vec<_> = values
        .map(|(key, value)| (key, matches!(value, Datum::Json(_)), value.secret().reveal()))
        .collect();
    let token = contents.session.as_ref().map(|session| session.token.reveal());
    format!("{contents:?} {values:?} {token:?}")
}

proptest! {
    // Each one waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_saved_is_loaded(values: Vec<(String, Vec<u8>)>) {
        let folder = tempfile::tempdir().unwrap();
        let (cache, contents) = (cache(folder.path()), contents(&values));
        cache.save(&contents).unwrap();
        let loaded = cache.load(time(200)).unwrap().unwrap();
        prop_assert_eq!(revealed(&loaded), revealed(&contents));
    }
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    cache.save(&contents(&[("k".into(), b"v".to_vec())])).unwrap();
    let path = folder.path().join("cache");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let error = cache.load(time(100)).unwrap_err();
        match at < 9 {
            true => assert!(matches!(error, CacheError::Foreign(_)), "{at}: {error}"),
            false => assert!(matches!(error, CacheError::Sealed(_)), "{at}: {error}"),
        }
        fs::write(&path, &whole[..at]).unwrap();
        assert!(cache.load(time(100)).is_err(), "cut at {at}");
    }
}

#[test]
fn nothing_of_it_can_be_read_in_the_file_and_each_write_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let (path, value) =
        (folder.path().join("cache"), contents(&[("key".into(), b"hunter22".to_vec())]));
    cache.save(&value).unwrap();
    let first = fs::read(&path).unwrap();
    cache.save(&value).unwrap();
    let second = fs::read(&path).unwrap();
    for text in [&b"hunter22"[..], b"s.token", b"pki/issue"] {
        assert!(!first.windows(text.len()).any(|window| window == text));
    }
    assert_ne!(first[9..21], second[9..21]);
    assert_ne!(first[21..], second[21..]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn another_key_does_not_open_it() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path()).save(&contents(&[])).unwrap();
    write_key(folder.path(), &[8; 32], 0o400);
    let other = SealedCache::new(&settings(folder.path()), &server(URL)).unwrap();
    let error = other.load(time(100)).unwrap_err();
    assert!(error.to_string().contains("give the right key or remove the file"), "{error}");
}

#[test]
fn it_is_used_up_to_its_age_and_not_a_second_longer() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    assert!(cache.load(time(0)).unwrap().is_none());
    cache.save(&contents(&[])).unwrap();
    assert!(cache.load(time(3700)).unwrap().is_some());
    assert!(matches!(cache.load(time(3701)), Err(CacheError::TooOld { .. })));
}

#[test]
fn a_write_that_was_cut_off_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    cache.save(&contents(&[])).unwrap();
    fs::write(folder.path().join("cache.new"), b"half").unwrap();
    assert!(cache.load(time(100)).unwrap().is_some());
    cache.save(&contents(&[])).unwrap();
    assert!(!folder.path().join("cache.new").exists());
}

#[test]
fn keys_are_taken_in_both_forms_and_only_from_files_of_ours() {
    let digits = "07".repeat(32);
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path()).save(&contents(&[])).unwrap();
    for key in [digits.clone(), format!("{digits}\n")] {
        write_key(folder.path(), key.as_bytes(), 0o600);
        let same = SealedCache::new(&settings(folder.path()), &server(URL)).unwrap();
        assert!(same.load(time(100)).unwrap().is_some());
    }
    for (key, mode, expected) in [
        (&b"short"[..], 0o400, "64 hexadecimal digits"),
        (&[7; 33], 0o400, "64 hexadecimal digits"),
        ("0g".repeat(32).as_bytes(), 0o400, "64 hexadecimal digits"),
        (&[7; 32], 0o440, "chmod 0400"),
        (&[7; 32], 0o404, "mode 0404"),
    ] {
        write_key(folder.path(), key, mode);
        let error =
            SealedCache::new(&settings(folder.path()), &server(URL)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("short"));
    }
}

#[test]
fn the_cache_of_another_server_or_namespace_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path()).save(&contents(&[])).unwrap();
    let inside = Server { namespace: Some("team".to_owned()), ..server(URL) };
    for other in [server("https://other.test:8200"), inside] {
        let other = SealedCache::new(&settings(folder.path()), &other).unwrap();
        let error = other.load(time(200)).unwrap_err();
        assert!(matches!(error, CacheError::Sealed(_)), "{error}");
    }
    assert!(cache(folder.path()).load(time(200)).unwrap().is_some());
}

#[test]
fn a_cache_that_cannot_be_written_or_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path());
    let path = folder.path().join("cache");
    fs::create_dir(&path).unwrap();
    for (error, start) in [
        (cache.save(&contents(&[])).unwrap_err(), "cannot write"),
        (cache.load(time(100)).unwrap_err(), "cannot read"),
    ] {
        let expected = format!("{start} the sealed cache {}: Is a directory", path.display());
        let error = Causes(&error).to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
}
