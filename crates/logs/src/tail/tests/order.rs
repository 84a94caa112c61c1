//! Files that are one log are read in the order in which they were written, whichever globs mean them.

use super::super::*;
use super::model::tick;
use super::reader::{Folder, Reader, files};

/// How a file is rotated: what was rotated before gets another number, or keeps its name.
const ROTATIONS: [fn(&Folder, u32); 4] = [
    |folder, count| folder.copytruncate("a.log", &format!("a.log.{count}")),
    |folder, count| folder.rename("a.log", &format!("a.log.{count}")),
    |folder, count| {
        renumber(folder, count);
        folder.copytruncate("a.log", "a.log.1");
    },
    |folder, count| {
        renumber(folder, count);
        folder.rename("a.log", "a.log.1");
    },
];

/// Lines that are not read in one turn.
fn several_blocks(number: u32) -> String {
    format!("{number}\n").repeat(BLOCK)
}

fn renumber(folder: &Folder, count: u32) {
    for number in (1..=count).rev() {
        folder.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
    }
}

/// Each part was read, and nothing of it delivered; the last was rotated while we were away.
#[tokio::test(start_paused = true)]
async fn what_was_rotated_and_not_delivered_comes_again_in_its_order() {
    for (kind, rotate) in ROTATIONS.into_iter().enumerate() {
        for glob in ["*.log", "*.log*"] {
            let (folder, state) = (Folder::new(), Folder::new());
            let meant = files(folder.root(), &[glob]);
            let mut reader = Reader::new(&meant, Some(state.root()));
            for number in 0..4 {
                if number > 0 {
                    rotate(&folder, number - 1);
                    tick();
                }
                folder.append("a.log", &several_blocks(number));
                reader.pump().await;
                tick();
            }
            reader.tail.save().await.unwrap();
            drop(reader);
            rotate(&folder, 3);
            folder.append("a.log", &several_blocks(4));
            let mut reader = Reader::new(&meant, Some(state.root()));
            reader.pump().await;
            let mut texts = reader.texts();
            texts.dedup();
            assert_eq!(texts, ["0", "1", "2", "3", "4"], "kind {kind}, {glob}");
        }
    }
}

/// The path leads nowhere when the program starts: nothing has been written since the rotation.
#[tokio::test(start_paused = true)]
async fn what_was_rotated_last_is_read_last_though_nothing_is_at_the_path() {
    for (is_known, glob) in [(true, "*.log"), (true, "*.log*"), (false, "*.log"), (false, "*.log*")]
    {
        let (folder, state) = (Folder::new(), Folder::new());
        let meant = files(folder.root(), &[glob]);
        let mut reader = Reader::new(&meant, Some(state.root()));
        if is_known {
            folder.append("a.log", &several_blocks(0));
        }
        reader.pump().await;
        reader.tail.save().await.unwrap();
        drop(reader);
        for number in 0..3 {
            tick();
            folder.append("a.log", &several_blocks(number));
            renumber(&folder, number);
            folder.rename("a.log", "a.log.1");
        }
        let mut reader = Reader::new(&meant, Some(state.root()));
        reader.pump().await;
        let mut texts = reader.texts();
        texts.dedup();
        assert_eq!(texts, ["0", "1", "2"], "{glob}, known: {is_known}");
    }
}

/// Nothing was known of any of them: the first look finds them all.
#[tokio::test(start_paused = true)]
async fn what_was_rotated_before_the_first_look_is_read_in_its_order_where_it_is_meant() {
    for (kind, rotate) in ROTATIONS.into_iter().enumerate() {
        let folder = Folder::new();
        for number in 0..4 {
            if number > 0 {
                rotate(&folder, number - 1);
                tick();
            }
            folder.append("a.log", &several_blocks(number));
            tick();
        }
        let mut reader = Reader::new(&files(folder.root(), &["*.log*"]), None);
        reader.pump().await;
        let mut texts = reader.texts();
        texts.dedup();
        assert_eq!(texts, ["0", "1", "2", "3"], "kind {kind}");
    }
}
