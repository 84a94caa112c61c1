//! Links as kubelet makes them: `containers/x.log` leads to `pods/x/0.log`, which is rotated.

use std::fs;
use std::os::unix::fs::symlink;

use super::reader::{Folder, Reader, files};

#[tokio::test(start_paused = true)]
async fn rotation_behind_a_link_is_followed() {
    let folder = Folder::new();
    folder.append("pods/x/0.log", "one\n");
    fs::create_dir(folder.path("containers")).unwrap();
    symlink("../pods/x/0.log", folder.path("containers/x.log")).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["containers/*.log"]), None);
    reader.pump().await;
    folder.append("pods/x/0.log", "two\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two"]);
    // As kubelet does it: renamed, then made anew by the runtime, which may write on for a moment.
    folder.append("pods/x/0.log", "three\n");
    folder.rename("pods/x/0.log", "pods/x/0.log.20261121-101112");
    reader.pump().await;
    folder.append("pods/x/0.log.20261121-101112", "four\n");
    reader.pump().await;
    folder.append("pods/x/0.log", "five\n");
    reader.pump().await;
    folder.append("pods/x/0.log", "six\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "three", "four", "five", "six"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_leads_elsewhere_is_another_file() {
    let folder = Folder::new();
    folder.append("one/0.log", "one\n");
    fs::create_dir(folder.path("links")).unwrap();
    symlink(folder.path("one/0.log"), folder.path("links/x.log")).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["links/*.log"]), None);
    reader.pump().await;
    folder.append("two/1.log", "two\n");
    symlink(folder.path("two/1.log"), folder.path("links/new")).unwrap();
    folder.rename("links/new", "links/x.log");
    reader.pump().await;
    folder.append("two/1.log", "three\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn two_paths_to_one_file_are_one_file() {
    let folder = Folder::new();
    folder.append("real.log", "one\n");
    symlink("real.log", folder.path("link.log")).unwrap();
    fs::hard_link(folder.path("real.log"), folder.path("hard.log")).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    folder.append("link.log", "two\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_leads_nowhere_yet_is_followed_when_it_does() {
    let folder = Folder::new();
    fs::create_dir(folder.path("pods")).unwrap();
    fs::create_dir(folder.path("containers")).unwrap();
    symlink("../pods/0.log", folder.path("containers/x.log")).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["containers/*.log"]), None);
    reader.pump().await;
    folder.append("pods/0.log", "one\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one"]);
}
