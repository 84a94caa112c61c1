//! Files, folders, and volumes that change as a kubelet changes them.

use std::fs;

use pillion_secrets::sources::SourceError;
use pillion_testkit::Volume;
use tempfile::TempDir;

use super::{LIMITS, folder, is_silent, next, seen, texts, until};

#[tokio::test]
async fn a_volume_is_followed_through_everything_a_kubelet_does_to_it() {
    let table: &[&[(&str, &str)]] = &[
        &[("foo", "foo"), ("bar", "bar")],
        &[("foo", "changed"), ("bar", "bar")],
        &[("foo", "changed"), ("bar", "bar"), ("added", "x")],
        &[("bar", "bar")],
        &[("bar", "bar"), ("folder/one", "1")],
        &[("bar", "bar"), ("folder/one", "1"), ("folder/two", "2"), ("folder/deeper/three", "3")],
        &[("folder/one", "other")],
        &[("folder", "a file now")],
        &[(".hidden", "h"), ("a..b", "dots within")],
        &[("binary", "\u{0}\u{1}"), ("empty", "")],
        &[("binary", "")],
    ];
    let mut volume = Volume::new();
    volume.project(&[("first", "1")]);
    let mut source = folder(volume.path());
    let first = next(&mut source).await.unwrap();
    assert_eq!(texts(&first), seen(&[("first", "1")]));
    assert_eq!(first.version, "..2026_11_21_12_00_00.1");
    for (number, files) in table.iter().enumerate() {
        volume.project(files);
        let given = until(&mut source, &seen(files)).await;
        assert_eq!(given.version, format!("..2026_11_21_12_00_00.{}", number + 2));
    }
    volume.project(table[table.len() - 1]);
    is_silent(&mut source).await;
    assert!(source.proven().borrow().is_some());
}

#[tokio::test]
async fn each_state_of_a_volume_that_is_given_is_one_that_was_projected() {
    let mut volume = Volume::new();
    let state = |number: usize| {
        let text = number.to_string();
        [("a", text.clone()), ("b/c", text.clone()), ("d", text)]
    };
    let project = move |volume: &mut Volume, number| {
        let files = state(number);
        volume.project(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    };
    project(&mut volume, 0);
    let mut source = folder(volume.path());
    let writer = std::thread::spawn(move || {
        for number in 1..=200 {
            project(&mut volume, number);
        }
        volume
    });
    loop {
        let given = texts(&next(&mut source).await.unwrap());
        assert_eq!(given.len(), 3, "{given:?}");
        assert!(given.values().all(|text| *text == given["a"]), "{given:?}");
        if given["a"] == "200" {
            break;
        }
    }
    writer.join().unwrap();
}

#[tokio::test]
async fn a_plain_file_and_a_plain_folder_are_followed_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("app.yaml");
    fs::write(&path, "one").unwrap();
    let mut file = folder(&path);
    let mut whole = folder(dir.path());
    let first = next(&mut file).await.unwrap();
    assert_eq!(texts(&first), seen(&[("app.yaml", "one")]));
    assert!(first.version.starts_with("modified at 1"), "{}", first.version);
    next(&mut whole).await.unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/b"), "b").unwrap();
    until(&mut whole, &seen(&[("app.yaml", "one"), ("sub/b", "b")])).await;
    is_silent(&mut file).await;
    fs::write(&path, "two").unwrap();
    until(&mut file, &seen(&[("app.yaml", "two")])).await;
    until(&mut whole, &seen(&[("app.yaml", "two"), ("sub/b", "b")])).await;
}

#[tokio::test]
async fn a_path_that_is_not_there_is_an_error_and_given_when_it_comes() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("later");
    let mut source = folder(&path);
    let error = next(&mut source).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
    assert!(source.proven().borrow().is_none());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), "1").unwrap();
    until(&mut source, &seen(&[("a", "1")])).await;
    assert!(source.proven().borrow().is_some());
}

#[tokio::test]
async fn a_folder_with_too_many_files_is_refused() {
    let dir = TempDir::new().unwrap();
    for number in 0..LIMITS.files {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    assert_eq!(next(&mut folder(dir.path())).await.unwrap().files.len(), LIMITS.files);
    fs::write(dir.path().join("one more"), "").unwrap();
    let error = next(&mut folder(dir.path())).await.unwrap_err();
    assert!(matches!(error, SourceError::Unfit(_)), "{error}");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a"), [0; 40]).unwrap();
    fs::write(dir.path().join("b"), [0; 24]).unwrap();
    next(&mut folder(dir.path())).await.unwrap();
    fs::write(dir.path().join("b"), [0; 25]).unwrap();
    let error = next(&mut folder(dir.path())).await.unwrap_err().to_string();
    assert!(error.starts_with("65 bytes are more than secrets.limits.bytes"), "{error}");
    let pipe = TempDir::new().unwrap();
    nix::unistd::mkfifo(&pipe.path().join("p"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = next(&mut folder(pipe.path())).await.unwrap_err().to_string();
    assert!(error.ends_with("/p: it is no file"), "{error}");
}
