//! Rotation in its kinds, while we read and while we are away.

use std::fs;
use std::io::{Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::*;
use super::model::tick;
use super::reader::{Folder, Reader, files};

#[tokio::test(start_paused = true)]
async fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    for glob in ["*.log", "*.log*"] {
        let folder = Folder::new();
        folder.append("a.log", "one\n");
        let mut reader = Reader::new(&files(folder.root(), &[glob]), None);
        reader.pump().await;
        folder.append("a.log", "two\n");
        folder.rename("a.log", "a.log.1");
        folder.append("a.log", "four\n");
        folder.append("a.log.1", "three\n");
        reader.pump().await;
        folder.append("a.log.1", "written late\n");
        reader.pump().await;
        assert_eq!(reader.texts(), ["one", "two", "three", "four", "written late"], "{glob}");
    }
}

/// Vector 23619, Fluent Bit 9580: lines came twice. otel-contrib 43693: reading stopped.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_truncated_is_read_once_and_reading_goes_on() {
    for glob in ["*.log", "*.log*"] {
        let folder = Folder::new();
        folder.append("a.log", "one\n");
        let mut reader = Reader::new(&files(folder.root(), &[glob]), None);
        reader.pump().await;
        let mut expected = vec!["one".to_owned()];
        for round in 0..5 {
            if round > 0 {
                folder.rename("a.log.1", &format!("a.log.{}", round + 1));
            }
            // Unread when it is truncated, and shorter or longer afterwards.
            folder.append("a.log", &format!("unread {round}\n"));
            folder.copytruncate("a.log", "a.log.1");
            let next = format!("next {round}").repeat(1 + round * 20);
            folder.append("a.log", &format!("{next}\n"));
            reader.pump().await;
            expected.extend([format!("unread {round}"), next]);
            assert_eq!(reader.texts(), expected, "{glob}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_not_read_while_it_is_made_nor_before_the_truncation() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\nthree\n");
    let mut reader = Reader::new(&files(folder.root(), &["*.log*"]), None);
    reader.pump().await;
    folder.append("a.log.1", "");
    reader.pump().await;
    folder.append("a.log.1", "one\ntw");
    reader.pump().await;
    folder.append("a.log.1", "o\nthree\n");
    reader.pump().await;
    folder.append("a.log", "four\n");
    reader.pump().await;
    fs::File::options().write(true).open(folder.path("a.log")).unwrap().set_len(0).unwrap();
    reader.pump().await;
    folder.append("a.log", "five\n");
    reader.pump_for(Duration::from_secs(8)).await;
    assert_eq!(reader.texts(), ["one", "two", "three", "four", "five"]);
}

/// The truncation shows in nothing but the contents: the file is as long as it was.
#[tokio::test(start_paused = true)]
async fn a_copy_of_what_was_never_read_is_read_when_the_original_is_another() {
    let folder = Folder::new();
    let mut reader = Reader::new(&files(folder.root(), &["*.log*"]), None);
    reader.pump().await;
    folder.append("a.log", "one\n");
    fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    let waited = tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await;
    assert!(waited.is_err());
    fs::write(folder.path("a.log"), "two\n").unwrap();
    reader.pump().await;
    let mut texts = reader.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "two"]);
}

/// The copy was known, and its original not read, when the program ended: both are read.
#[tokio::test(start_paused = true)]
async fn a_copy_of_what_was_never_read_is_read_also_after_a_restart() {
    for is_truncated_while_away in [false, true] {
        for is_compressed in [false, true] {
            let (folder, state) = (Folder::new(), Folder::new());
            let meant = files(folder.root(), &["*.log"]);
            let mut reader = Reader::new(&meant, Some(state.root()));
            reader.pump().await;
            let truncate = || {
                let file = fs::File::options().write(true).open(folder.path("a.log")).unwrap();
                file.set_len(0).unwrap();
                folder.append("a.log", "two\n");
            };
            folder.append("a.log", "one\n");
            for _ in 0..2 {
                let looked = tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await;
                assert!(looked.is_err());
                fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
            }
            assert_eq!(reader.tail.status(9).files.len(), 2);
            if !is_truncated_while_away {
                truncate();
                let looked = tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await;
                assert!(looked.is_err());
            }
            assert_eq!(reader.stop().await, [""; 0]);
            tick();
            if is_truncated_while_away {
                truncate();
            }
            if is_compressed {
                folder.gzip("a.log.1", "a.log.1.gz");
            }
            let mut reader = Reader::new(&meant, Some(state.root()));
            reader.pump().await;
            let about = format!("while away: {is_truncated_while_away}, {is_compressed}");
            assert_eq!(reader.texts(), ["one", "two"], "{about}");
        }
    }
}

/// The copy of what was never read is compressed at once.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_compressed_before_its_original_was_read_is_read() {
    let folder = Folder::new();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    folder.append("a.log", "one\n");
    fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    assert!(tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await.is_err());
    let file = fs::File::options().write(true).open(folder.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    folder.append("a.log", "two\n");
    folder.gzip("a.log.1", "a.log.1.gz");
    assert!(tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await.is_err());
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two"]);
}

/// Some copies are seen before the truncation, some after it.
#[tokio::test(start_paused = true)]
async fn copies_that_were_seen_at_different_steps_are_read_in_order() {
    // Bits: which copies are seen before the truncation, and after which ones is looked.
    for seen in 0..1 << 8 {
        let folder = Folder::new();
        let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
        folder.append("a.log", "0\n");
        reader.pump().await;
        let began = SystemTime::now();
        for number in 0..4 {
            folder.append("a.log", &format!("{}\n", number + 1));
            let old = folder.path(&format!("a.log.{number}"));
            fs::copy(folder.path("a.log"), &old).unwrap();
            let copy = fs::File::options().write(true).open(&old).unwrap();
            copy.set_modified(began + Duration::from_millis(10 * number)).unwrap();
            if seen >> number & 1 == 1 {
                assert!(tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await.is_err());
            }
            fs::File::options().write(true).open(folder.path("a.log")).unwrap().set_len(0).unwrap();
            if seen >> (4 + number) & 1 == 1 {
                assert!(tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await.is_err());
            }
        }
        folder.append("a.log", "5\n");
        reader.pump().await;
        assert_eq!(reader.texts(), ["0", "1", "2", "3", "4", "5"], "{seen:08b}");
    }
}

/// Rotated several times while nobody looked: each part comes after the one before it.
#[tokio::test(start_paused = true)]
async fn what_was_rotated_again_and_again_is_read_in_the_order_in_which_it_was_written() {
    type Rotate = fn(&Folder, &str);
    let kinds: [Rotate; 2] = [
        |folder, old| folder.copytruncate("a.log", old),
        |folder, old| folder.rename("a.log", old),
    ];
    for (kind, rotate) in kinds.into_iter().enumerate() {
        for is_away in [false, true] {
            let (folder, state) = (Folder::new(), Folder::new());
            let meant = files(folder.root(), &["*.log"]);
            let mut reader = Reader::new(&meant, Some(state.root()));
            folder.append("a.log", "0\n");
            reader.pump().await;
            let mut texts = Vec::new();
            if is_away {
                texts = reader.stop().await;
                reader = Reader::new(&meant, Some(state.root()));
                // Not looked at before all is there.
            }
            let began = SystemTime::now();
            for number in 1..8 {
                folder.append("a.log", &format!("{number}\n"));
                let old = format!("a.log.{number}");
                rotate(&folder, &old);
                let old = fs::File::options().write(true).open(folder.path(&old)).unwrap();
                old.set_modified(began + Duration::from_millis(10 * number)).unwrap();
            }
            folder.append("a.log", "8\n");
            reader.pump().await;
            texts.extend(reader.texts().into_iter().map(str::to_owned));
            let expected: Vec<_> = (0..=8).map(|number| number.to_string()).collect();
            assert_eq!(texts, expected, "kind {kind}, away: {is_away}");
        }
    }
}

/// A writer without `O_APPEND` goes on where it was, and leaves a hole.
#[tokio::test(start_paused = true)]
async fn the_hole_that_a_truncation_leaves_is_skipped() {
    let folder = Folder::new();
    let mut writer = fs::File::create(folder.path("a.log")).unwrap();
    writer.write_all(&b"some line\n".repeat(100_000)).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    writer.set_len(0).unwrap();
    reader.pump().await;
    assert_eq!(writer.stream_position().unwrap(), 1_000_000);
    writer.write_all(b"after\n").unwrap();
    reader.pump().await;
    assert_eq!(reader.texts()[100_000..], ["after"]);
}

/// Fluent Bit 5024: after a crash and a rotation the rest of the old file was lost.
#[tokio::test(start_paused = true)]
async fn what_was_rotated_while_we_were_away_is_read_first() {
    for glob in ["*.log", "*.log*"] {
        let (folder, state) = (Folder::new(), Folder::new());
        folder.append("a.log", "one\n");
        let files = files(folder.root(), &[glob]);
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.stop().await, ["one"]);
        folder.append("a.log", "two\n");
        folder.rename("a.log", "a.log.1");
        folder.append("a.log", "three\n");
        folder.rename("a.log.1", "a.log.2");
        folder.rename("a.log", "a.log.1");
        folder.append("a.log", "four\n");
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.texts(), ["two", "three", "four"], "{glob}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_truncated_while_we_were_away_is_read_from_the_copy() {
    for glob in ["*.log", "*.log*"] {
        let (folder, state) = (Folder::new(), Folder::new());
        folder.append("a.log", "one\n");
        let files = files(folder.root(), &[glob]);
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.stop().await, ["one"]);
        folder.append("a.log", "two\n");
        folder.copytruncate("a.log", "a.log.1");
        folder.append("a.log", "three, which is longer than what was read\n");
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        let expected = ["two", "three, which is longer than what was read"];
        assert_eq!(reader.texts(), expected, "{glob}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_compressed_while_we_were_away_is_read_from_where_we_were() {
    for (glob, zstd) in [("*.log", false), ("*.log*", false), ("*.log", true)] {
        let (folder, state) = (Folder::new(), Folder::new());
        let read: String = (0..50_000).map(|number| format!("read {number}\n")).collect();
        folder.append("a.log", &read);
        let files = files(folder.root(), &[glob]);
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        assert_eq!(reader.stop().await.len(), 50_000);
        let unread: String = (0..50_000).map(|number| format!("unread {number}\n")).collect();
        folder.append("a.log", &unread);
        folder.rename("a.log", "a.log.1");
        if zstd {
            let text = fs::read(folder.path("a.log.1")).unwrap();
            let packed = zstd::encode_all(&text[..], 1).unwrap();
            fs::write(folder.path("a.log.1.zst"), packed).unwrap();
            folder.remove("a.log.1");
        } else {
            folder.gzip("a.log.1", "a.log.2.gz");
        }
        folder.append("a.log", "new\n");
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        let texts = reader.texts();
        assert_eq!((texts.len(), texts[0], texts[50_000]), (50_001, "unread 0", "new"), "{glob}");
        reader.stop().await;
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump_for(Duration::from_secs(70)).await;
        assert!(reader.lines.is_empty(), "{:?}", reader.texts());
    }
}

/// Fluent Bit 1108, 2110, 5382, 5114; otel 35137, 40200; "very fast files will be lost".
#[tokio::test]
async fn twenty_writers_that_rotate_all_the_time_lose_nothing() {
    const WRITERS: usize = 20;
    const ROTATIONS: usize = 15;
    const LINES: usize = 40;
    let folder = Folder::new();
    let mut tail = Tail::new(&files(folder.root(), &["*.log"]), "test".into(), None).unwrap();
    tail.at_end();
    let done = AtomicBool::new(false);
    let mut seen: Vec<Vec<(usize, usize)>> = vec![Vec::new(); WRITERS];
    thread::scope(|scope| {
        let write = |writer: usize| {
            for rotation in 0..ROTATIONS {
                let name = format!("{writer}.log");
                for line in 0..LINES {
                    folder.append(&name, &format!("{writer} {rotation} {line}\n"));
                }
                for number in (1..ROTATIONS).rev() {
                    let from = folder.path(&format!("{name}.{number}"));
                    if from.exists() {
                        folder
                            .rename(&format!("{name}.{number}"), &format!("{name}.{}", number + 1));
                    }
                }
                folder.rename(&name, &format!("{name}.1"));
            }
        };
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let done = &done;
        scope.spawn(move || {
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            done.store(true, Ordering::SeqCst);
        });
        loop {
            let finished = done.load(Ordering::SeqCst);
            while let Some(event) = tail.try_next() {
                let Event::Block(block) = event else { continue };
                for line in std::str::from_utf8(block.bytes).unwrap().lines() {
                    let numbers: Vec<usize> = line.split(' ').map(|n| n.parse().unwrap()).collect();
                    seen[numbers[0]].push((numbers[1], numbers[2]));
                }
            }
            if finished && tail.at_end() {
                break;
            }
            thread::yield_now();
        }
    });
    let all: Vec<(usize, usize)> =
        (0..ROTATIONS).flat_map(|rotation| (0..LINES).map(move |line| (rotation, line))).collect();
    for (writer, mut lines) in seen.into_iter().enumerate() {
        lines.sort_unstable();
        assert_eq!(lines, all, "writer {writer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_is_the_same_when_a_line_is_read_again() {
    let (folder, state) = (Folder::new(), Folder::new());
    folder.append("a.log", "one\n");
    let files = files(folder.root(), &["*.log"]);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        // Nothing is acknowledged, as before a kill.
        ids.push(reader.lines.iter().map(|line| line.id).collect::<Vec<_>>());
        reader.tail.save().await.unwrap();
        folder.append("a.log", "two\n");
        folder.rename("a.log", "a.log.1");
        folder.append("a.log", "three\n");
    }
    assert_eq!(ids[1][..1], ids[0][..]);
    assert_eq!(ids[1].iter().collect::<BTreeSet<_>>().len(), 3);
}
