//! What is rotated and compressed before anything was read of it.

use super::super::*;
use super::model::tick;
use super::reader::{Folder, Reader, files};

/// A tail that has looked, and has read nothing.
async fn looked(meant: &Files, state: &Folder) -> Reader {
    let mut reader = Reader::new(meant, Some(state.root()));
    reader.tail.at_end();
    reader.tail.save().await.unwrap();
    tick();
    reader
}

#[tokio::test(start_paused = true)]
async fn what_was_written_last_tells_it_from_others_when_it_is_compressed_while_we_are_away() {
    let (folder, state) = (Folder::new(), Folder::new());
    let meant = files(folder.root(), &["*.log"]);
    folder.append("a.log", "one\n");
    drop(looked(&meant, &state).await);
    folder.append("a.log", "two\n");
    tick();
    drop(looked(&meant, &state).await);
    folder.rename("a.log", "a.log.1");
    folder.gzip("a.log.1", "a.log.2.gz");
    folder.append("a.log", "three\n");
    let mut reader = looked(&meant, &state).await;
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_nobody_saw_before_it_was_compressed_is_read() {
    for is_restarted in [false, true] {
        let (folder, state) = (Folder::new(), Folder::new());
        let meant = files(folder.root(), &["*.log"]);
        folder.append("a.log", "one\n");
        let mut reader = looked(&meant, &state).await;
        folder.copytruncate("a.log", "a.log.1");
        folder.gzip("a.log.1", "a.log.1.gz");
        tick();
        reader.tail.at_end();
        if is_restarted {
            reader.tail.save().await.unwrap();
            drop(reader);
            reader = looked(&meant, &state).await;
        }
        reader.pump().await;
        folder.append("a.log", "two\n");
        reader.pump().await;
        assert_eq!(reader.texts(), ["one", "two"], "restarted: {is_restarted}");
    }
}

/// As many compressed files as may be open are waiting to be read.
#[tokio::test(start_paused = true)]
async fn there_is_room_to_look_at_a_copy_whatever_was_compressed() {
    let (folder, state) = (Folder::new(), Folder::new());
    let mut meant = files(folder.root(), &["*.log*"]);
    meant.open_files = 2;
    let names = ["a.log", "b.log", "c.log"];
    names.iter().for_each(|name| folder.append(name, "one\n"));
    let mut reader = looked(&meant, &state).await;
    reader.pump().await;
    assert_eq!(reader.stop().await, ["one"; 3]);
    for name in names {
        let old = format!("{name}.1");
        folder.append(name, &format!("{name} two\n"));
        tick();
        if name == "a.log" {
            folder.copytruncate(name, &old);
        } else {
            folder.rename(name, &old);
            folder.gzip(&old, &format!("{old}.gz"));
        }
        folder.append(name, &format!("{name} three\n"));
    }
    let mut reader = looked(&meant, &state).await;
    reader.pump().await;
    let mut texts = reader.texts();
    texts.sort_unstable();
    let expected = names.map(|name| [format!("{name} three"), format!("{name} two")]);
    assert_eq!(texts, expected.as_flattened());
}
