//! Files that come, grow, go and change under their name.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::super::*;
use super::reader::{Folder, Reader, files};

#[tokio::test(start_paused = true)]
async fn lines_come_as_they_are_written() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo");
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    assert_eq!(reader.texts(), ["one"]);
    folder.append("a.log", " and more\n");
    folder.append("new/b.log", "not meant\n");
    folder.append("b.log", "three\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two and more", "three"]);
}

/// In the time of the wall: the kernel wakes the reader, long before the next look at everything.
#[tokio::test]
async fn a_reader_that_waits_is_woken() {
    let folder = Folder::new();
    let mut tail = Tail::new(&files(folder.root(), &["*.log"]), "test".into(), None).unwrap();
    for text in ["one\n", "two\n", "three\n"] {
        assert!(tail.at_end());
        let write = async {
            tokio::task::yield_now().await;
            folder.append("a.log", text);
        };
        let next = tokio::time::timeout(LOOK / 3, tail.next());
        let (event, ()) = tokio::join!(next, write);
        let Event::Block(block) = event.unwrap() else { panic!("no block") };
        assert_eq!(block.bytes, text.as_bytes());
    }
}

/// Between the look into a folder and the watch on it something may come that nobody tells of.
#[tokio::test(start_paused = true)]
async fn what_comes_before_its_folder_is_watched_is_found_at_once() {
    let folder = Folder::new();
    let forget = |tail: &mut Tail| drop(tail.notices.as_mut().unwrap().drain().unwrap());
    let mut tail = Tail::new(&files(folder.root(), &["*/*.log"]), "test".into(), None).unwrap();
    let began = Instant::now();
    for name in ["a/1.log", "b/1.log"] {
        fs::create_dir(folder.root().join(name).parent().unwrap()).unwrap();
        tail.next_look = Instant::now();
        assert!(tail.try_next().is_none());
        folder.append(name, "a line\n");
        forget(&mut tail);
        assert!(matches!(tail.try_next(), Some(Event::Block(_))), "{name}");
    }
    assert!(tail.try_next().is_none());
    assert_eq!(Instant::now(), began);
    assert_eq!(tail.next_look, began + LOOK, "there is nothing more to look for");
}

#[tokio::test(start_paused = true)]
async fn new_folders_are_looked_into() {
    let folder = Folder::new();
    let mut reader = Reader::new(&files(folder.root(), &["**/*.log", "deep/*/x/*.txt"]), None);
    reader.pump().await;
    folder.append("a/b/c.log", "one\n");
    reader.pump().await;
    folder.append("deep/er/x/d.txt", "two\n");
    reader.pump().await;
    folder.append("a/b/c.log", "three\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_excluded_is_not_read() {
    let folder = Folder::new();
    folder.append("a.log", "yes\n");
    folder.append("a-debug.log", "no\n");
    let mut files = files(folder.root(), &["*.log"]);
    files.exclude = vec![format!("{}/*-debug.log", folder.root().display())];
    let mut reader = Reader::new(&files, None);
    reader.pump().await;
    assert_eq!(reader.texts(), ["yes"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_at_the_first_start_is_read_from_its_last_line_if_so_configured() {
    let (folder, state) = (Folder::new(), Folder::new());
    folder.append("a.log", "old\nlast");
    let mut files = files(folder.root(), &["*.log"]);
    files.from_start = false;
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    folder.append("a.log", " line\n");
    folder.append("b.log", "new\n");
    reader.pump().await;
    assert_eq!(reader.stop().await, ["last line", "new"]);
    // At the next start, what is new was written since.
    folder.append("c.log", "newer\n");
    let mut reader = Reader::new(&files, Some(state.root()));
    reader.pump().await;
    assert_eq!(reader.texts(), ["newer"]);
}

/// Vector 25079, 457, 2701; beats 1341: files that begin alike were taken for one.
#[tokio::test(start_paused = true)]
async fn files_with_identical_first_lines_are_all_read() {
    let folder = Folder::new();
    let header = "# a header that every file has\n".repeat(100);
    for name in ["app.log", "app-1.log", "app.log.1", "other.log"] {
        folder.append(name, &header);
        folder.append(name, &format!("from {name}\n"));
    }
    let mut reader = Reader::new(&files(folder.root(), &["*"]), None);
    reader.pump().await;
    assert_eq!(reader.lines.len(), 404);
    for name in ["app.log", "app-1.log", "app.log.1", "other.log"] {
        assert!(reader.texts().contains(&format!("from {name}").as_str()), "{name}");
    }
}

/// Fluent Bit 4895, 8025: an inode that was used again was read from the old position.
#[tokio::test(start_paused = true)]
async fn a_file_with_the_inode_of_a_deleted_one_is_read_from_its_beginning() {
    let (folder, state) = (Folder::new(), Folder::new());
    let files = files(folder.root(), &["*.log"]);
    for round in 0..5 {
        folder.append("a.log", &format!("the same beginning\n{round}\n"));
        let mut reader = Reader::new(&files, Some(state.root()));
        reader.pump().await;
        folder.remove("a.log");
        folder.append("a.log", "the same beginning\n");
        folder.append("a.log", &format!("second {round}\n"));
        reader.pump().await;
        let expected = ["the same beginning", &format!("{round}"), "the same beginning"];
        let lines = reader.stop().await;
        assert_eq!(lines[..3], expected);
        assert_eq!(lines[3], format!("second {round}"));
        folder.remove("a.log");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_file_is_read_to_its_end_and_its_last_line_given() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    folder.append("a.log", "two\nthe end");
    folder.remove("a.log");
    reader.pump_for(Duration::from_secs(8)).await;
    assert_eq!(reader.texts(), ["one", "two", "the end"]);
    reader.acknowledge_all();
    reader.pump_for(Duration::from_secs(40)).await;
    assert_eq!(reader.tail.status(10), Status::default());
}

/// Nothing is opened that would wait, and nothing read that is no file.
#[tokio::test(start_paused = true)]
async fn a_file_that_becomes_a_folder_or_a_pipe_and_comes_back_is_read_on() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    mkfifo(&folder.path("pipe.log"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    symlink("/dev/zero", folder.path("zero.log")).unwrap();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    folder.rename("a.log", "away");
    fs::create_dir(folder.path("a.log")).unwrap();
    reader.pump().await;
    fs::remove_dir(folder.path("a.log")).unwrap();
    mkfifo(&folder.path("a.log"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    reader.pump().await;
    folder.remove("a.log");
    folder.append("away", "two\n");
    folder.rename("away", "a.log");
    reader.pump().await;
    folder.append("a.log", "three\n");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "three"]);
}

/// beats 51766: where files could not be looked at, all counted as deleted, and were read again.
#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_be_looked_at_is_not_gone() {
    let folder = Folder::new();
    folder.append("a/x.log", "one\n");
    let mut files = files(folder.root(), &["a/*.log"]);
    files.idle_close = Duration::from_secs(2);
    let mut reader = Reader::new(&files, None);
    reader.pump_for(Duration::from_secs(10)).await;
    // Too many links: neither "not there" nor "there".
    folder.rename("a", "b");
    symlink("a", folder.path("a")).unwrap();
    reader.pump_for(Duration::from_secs(130)).await;
    let FileState::Unreadable(why) = reader.tail.status(1).files[0].state.clone() else {
        panic!("{:?}", reader.tail.status(1));
    };
    assert!(why.contains("symbolic links"), "{why}");
    folder.remove("a");
    folder.append("b/x.log", "two\n");
    folder.rename("b", "a");
    reader.pump_for(Duration::from_secs(130)).await;
    assert_eq!(reader.texts(), ["one", "two"]);
}

/// Vector 3567, 1466, 13129: idle files were kept open, and polled.
#[tokio::test(start_paused = true)]
async fn idle_files_are_closed_and_no_more_than_allowed_are_open() {
    let folder = Folder::new();
    for number in 0..50 {
        folder.append(&format!("{number}.log"), "one\n");
    }
    let mut files = files(folder.root(), &["*.log"]);
    (files.open_files, files.idle_close) = (7, Duration::from_secs(10));
    let mut reader = Reader::new(&files, None);
    while reader.step().await {
        assert!(reader.tail.status(0).open <= 7);
    }
    assert_eq!((reader.lines.len(), reader.tail.status(0).open), (50, 7));
    reader.pump_for(Duration::from_secs(12)).await;
    assert_eq!(reader.tail.status(0).open, 0);
    // A closed one is heard, and its last words too.
    folder.append("3.log", "two\n");
    folder.append("4.log", "three\n");
    folder.rename("4.log", "4.old");
    reader.pump().await;
    assert_eq!(reader.texts()[50..], ["two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_true_also_where_nothing_is_read() {
    let folder = Folder::new();
    let mut files = files(folder.root(), &["*.log"]);
    files.idle_close = Duration::from_secs(10);
    let mut reader = Reader::new(&files, None);
    let shown = reader.tail.shown();
    let stands = || (shown.borrow().files.len(), shown.borrow().open);
    reader.pump().await;
    folder.append("a.log", "");
    for (time, expected) in [(2, (1, 1)), (12, (1, 0))] {
        let waited = tokio::time::timeout(Duration::from_secs(time), reader.tail.next()).await;
        assert!(waited.is_err());
        assert_eq!(stands(), expected, "after {time} s");
    }
    folder.remove("a.log");
    let waited = tokio::time::timeout(Duration::from_secs(2), reader.tail.next()).await;
    assert!(waited.is_err());
    assert_eq!(stands(), (0, 0));
}

/// A firehose does not starve the others.
#[tokio::test(start_paused = true)]
async fn files_take_turns() {
    let folder = Folder::new();
    folder.append("a.log", &"a line of the firehose\n".repeat(100_000));
    folder.append("b.log", "quiet\n");
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.step().await;
    reader.step().await;
    assert!(reader.texts().contains(&"quiet"));
}

/// Fluent Bit's default drops the whole file, Vector the line.
#[tokio::test(start_paused = true)]
async fn a_line_longer_than_a_block_does_not_stop_the_file() {
    for gives_back in [false, true] {
        let folder = Folder::new();
        let long = "x".repeat(10_000_000);
        folder.append("a.log", &format!("one\n{long}\ntwo\n"));
        let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
        reader.gives_back = gives_back;
        reader.pump().await;
        assert_eq!(reader.texts(), ["one", long.as_str(), "two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_given_back_come_again_with_what_follows_or_at_the_end() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntw");
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.gives_back = true;
    reader.pump().await;
    assert!(reader.tail.at_end());
    folder.append("a.log", "o\nthr");
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two"]);
    reader.tail.finish();
    reader.pump().await;
    assert_eq!(reader.texts(), ["one", "two", "thr"]);
}

/// Fluent Bit 1768, 2247; Vector 22893: who does not read must not make memory grow.
#[tokio::test(start_paused = true)]
async fn what_is_rotated_and_deleted_while_the_caller_waits_is_held_open() {
    let folder = Folder::new();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    let mut expected = Vec::new();
    for round in 0..10 {
        folder.append("a.log", &format!("{round}\n"));
        expected.push(round.to_string());
        // The clock stands, unless everything sleeps: so the look is over when this is.
        let wait = tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await;
        assert!(wait.is_err());
        folder.rename("a.log", "a.log.1");
        let wait = tokio::time::timeout(GATHER * 3, reader.tail.keep_up()).await;
        assert!(wait.is_err());
        folder.remove("a.log.1");
    }
    assert_eq!(reader.tail.status(0).open, 10);
    reader.pump().await;
    assert_eq!(reader.texts(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_where_each_file_stands() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\n");
    folder.append("b.log", "three\n");
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    reader.lines.iter_mut().find(|line| line.text == "one").unwrap().receipt.take().unwrap().done();
    let status = reader.tail.status(1);
    let a = &status.files[0];
    assert!(a.path.ends_with("b.log"));
    assert_eq!((a.size, a.read, a.delivered, a.lag, &a.state), (6, 6, 0, 6, &FileState::Idle));
    assert_eq!((status.others, status.others_lag, status.open), (1, 4, 2));
}

#[tokio::test(start_paused = true)]
async fn the_kernel_may_lose_notices() {
    let folder = Folder::new();
    let mut reader = Reader::new(&files(folder.root(), &["*.log"]), None);
    reader.pump().await;
    // Each write and each rename is a notice; the queue of the kernel has 16384 places.
    folder.append("a.log", "one\n");
    for _ in 0..6000 {
        folder.append("noise.txt", "x");
        folder.rename("noise.txt", "noise");
        folder.rename("noise", "noise.txt");
    }
    folder.append("b.log", "two\n");
    folder.append("a.log", "three\n");
    reader.pump().await;
    let mut texts = reader.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["one", "three", "two"]);
}

#[test]
fn globs_that_cannot_be_used_are_refused_with_the_reason() {
    for (glob, expected) in [
        ("var/log/*.log", "\"var/log/*.log\" is not an absolute path: begin it with /"),
        (
            "/var/{log/a,b}/*",
            "\"/var/{log/a,b}/*\" has a slash between braces or brackets: write one glob for each path",
        ),
        ("/var/[", "\"/var/[\" is not a glob"),
    ] {
        let error = Globs::new(&[glob.to_owned()], &[]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
