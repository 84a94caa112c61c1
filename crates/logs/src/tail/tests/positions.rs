//! The positions file.

use std::fs;

use super::super::*;
use super::reader::{Folder, Reader, files};

/// Vector `test_multi_line_checkpointing`; Fluent Bit 3926: only what is complete counts.
#[tokio::test(start_paused = true)]
async fn an_incomplete_line_is_read_from_its_beginning_after_a_restart() {
    for gives_back in [false, true] {
        let (folder, state) = (Folder::new(), Folder::new());
        folder.append("a.log", "one\nincom");
        let files = files(folder.root(), &["*.log"]);
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.gives_back = gives_back;
        reader.pump().await;
        assert_eq!(reader.stop().await, ["one"]);
        folder.append("a.log", "plete\n");
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.texts(), ["incomplete"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_again_and_nothing_else() {
    let (folder, state) = (Folder::new(), Folder::new());
    folder.append("a.log", "one\ntwo\nthree\nfour\n");
    let files = files(folder.root(), &["*.log"]);
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    for index in [0, 1, 3] {
        reader.lines[index].receipt.take().unwrap().done();
    }
    reader.tail.save().await.unwrap();
    drop(reader);
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    assert_eq!(reader.texts(), ["three", "four"]);
}

#[tokio::test(start_paused = true)]
async fn positions_are_saved_every_second_while_something_changes() {
    let (folder, state) = (Folder::new(), Folder::new());
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), Some(state.root()));
    reader.pump().await;
    folder.append("a.log", "one\n");
    reader.pump().await;
    reader.acknowledge_all();
    for _ in 0..3 {
        reader.pump_for(Duration::from_secs(1)).await;
        reader.positions.as_ref().unwrap().settle().await;
    }
    let saved = fs::read_to_string(state.path("positions.json")).unwrap();
    assert!(saved.contains("\"position\":4"), "{saved}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_understood_is_set_aside() {
    for text in ["", "{", "{\"version\":1,\"sources\":7}", "\u{0}\u{0}\u{0}"] {
        let (folder, state) = (Folder::new(), Folder::new());
        fs::write(state.path("positions.json"), text).unwrap();
        folder.append("a.log", "one\n");
        let mut reader = Reader::new(&files(folder.root(), &["*.log"]), Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.texts(), ["one"]);
        let names: Vec<String> = fs::read_dir(state.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("positions.json.bad-"))
            .collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read_to_string(state.path(&names[0])).unwrap(), text);
    }
}

#[test]
fn a_later_version_and_a_second_process_are_refused() {
    let state = Folder::new();
    let held = Positions::open(state.root()).unwrap();
    let error = Positions::open(state.root()).unwrap_err().to_string();
    let expected = "is used by another process: give each its own state folder";
    assert_eq!(error, format!("{} {expected}", state.root().display()));
    drop(held);
    fs::write(state.path("positions.json"), "{\"version\":2,\"new\":true}").unwrap();
    let error = Positions::open(state.root()).unwrap_err().to_string();
    assert!(error.ends_with("has version 2, and this program knows 1: use the newer program"));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_forgotten_and_what_is_there_is_not() {
    let (folder, state) = (Folder::new(), Folder::new());
    folder.append("a.log", "one\n");
    folder.append("b.log", "two\n");
    let files = files(folder.root(), &["*.log"]);
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    reader.stop().await;
    folder.remove("b.log");
    let positions = Positions::open(state.root()).unwrap();
    let (entries, _) = positions.of("test").unwrap();
    let of = |name| entries.iter().find(|entry| entry.path.ends_with(name)).unwrap();
    let present = |seed| seed == of("a.log").seed;
    let seen = of("b.log").seen;
    let week = 7 * 24 * 3_600_000;
    positions.forget("test", seen + week, present);
    assert_eq!(positions.of("test").unwrap().0.len(), 2);
    positions.forget("test", seen + week + 1, present);
    assert_eq!(positions.of("test").unwrap().0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_no_text_is_kept() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (folder, state) = (Folder::new(), Folder::new());
    let path = folder.root().join(OsStr::from_bytes(b"\xff\xfe.log"));
    fs::write(&path, "one\n").unwrap();
    let files = files(folder.root(), &["*.log"]);
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    assert_eq!(reader.stop().await, ["one"]);
    fs::write(&path, "one\ntwo\n").unwrap();
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    assert_eq!(reader.texts(), ["two"]);
}
