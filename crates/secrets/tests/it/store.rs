//! The directory of a set.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pillion_runtime::watch::FileWatch;
use pillion_secrets::store::{
    Difference, Draft, DraftFile, FileName, Found, NOTES, Owner, Recovery, Step, Store, StoreError,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::files::{draft, expected, file, seen, seen_through_current, versions};

fn ignore(_: Step) {}

fn open(directory: &Path) -> Store {
    let (store, recovery) = Store::open(directory).unwrap();
    assert_eq!(recovery.found, Found::Settled);
    store
}

/// Brings a draft in and confirms it.
fn bring(store: &mut Store, draft: &Draft, keep: usize) {
    store.stage(draft, Vec::new(), &mut ignore).unwrap();
    store.swap(&mut ignore).unwrap();
    store.settle(keep, &mut ignore).unwrap();
}

#[test]
fn an_app_finds_each_file_under_its_name_with_mode_and_owner() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir.path().join("new/set"));
    let directory = store.directory().to_owned();
    let mut files = vec![file("tls.crt", "crt"), file("conf/a/b", "deep"), file("conf/c", "c")];
    files[0].mode = 0o440;
    // Only root may give files away.
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        files[1].owner = Some(Owner::find("65534", "65533").unwrap());
    }
    let draft = Draft::new(files).unwrap();
    let version = store.stage(&draft, Vec::new(), &mut ignore).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&store.folder_of(version)), 0o700, "closed until it is checked");
    assert!(seen(&directory).is_empty());
    store.swap(&mut ignore).unwrap();
    store.settle(1, &mut ignore).unwrap();

    assert_eq!(seen(&directory), expected(&draft));
    assert_eq!(mode(&directory.join("tls.crt")), 0o440);
    assert_eq!(mode(&directory.join("conf/c")), 0o400);
    assert_eq!(mode(&directory.join("conf/a")), 0o755);
    assert_eq!(mode(&directory.join("current")), 0o755);
    assert_eq!(mode(&directory.join(".versions")), 0o711);
    assert_eq!(mode(&directory.join(".versions/journal")), 0o600);
    if is_root {
        let given = fs::metadata(directory.join("conf/a/b")).unwrap();
        assert_eq!((given.uid(), given.gid()), (65534, 65533));
    }
    let link = |name: &str| fs::read_link(directory.join(name)).unwrap();
    assert_eq!(link("current"), Path::new(".versions/1"));
    assert_eq!(link("tls.crt"), Path::new("current/tls.crt"));
    assert_eq!(link("conf"), Path::new("current/conf"));
    assert_eq!(store.difference(&draft).unwrap(), Difference::None);
}

#[test]
fn names_come_and_go_with_the_versions_and_other_files_stay() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    fs::write(dir.path().join("mine"), "").unwrap();
    symlink("current/elsewhere", dir.path().join("my-link")).unwrap();
    let table: [&[(&str, &str)]; 5] = [
        &[("a", "1"), ("b", "1")],
        &[("a", "2"), ("c/d", "2")],
        &[("c", "3")],
        &[],
        &[("a/b", "4"), ("b", "4")],
    ];
    for files in table {
        let draft = draft(files);
        bring(&mut store, &draft, 0);
        assert_eq!(seen_through_current(dir.path()), expected(&draft));
        for (name, content) in files {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), *content);
        }
        let links = fs::read_dir(dir.path()).unwrap().filter(|entry| {
            let target = fs::read_link(entry.as_ref().unwrap().path());
            target.is_ok_and(|it| {
                it == Path::new("current").join(entry.as_ref().unwrap().file_name())
            })
        });
        let tops: std::collections::BTreeSet<_> =
            files.iter().map(|(name, _)| name.split('/').next()).collect();
        assert_eq!(links.count(), tops.len(), "{files:?}");
        assert!(dir.path().join("mine").exists());
        assert!(dir.path().join("my-link").is_symlink());
    }
}

#[test]
fn a_difference_is_seen_in_names_bytes_modes_and_owners_and_nothing_is_touched() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let files = || vec![file("a", "1"), file("b/c", "2")];
    assert_eq!(store.difference(&Draft::default()).unwrap(), Difference::Files);
    store.stage(&Draft::new(files()).unwrap(), Vec::new(), &mut ignore).unwrap();
    store.swap(&mut ignore).unwrap();
    assert_eq!(store.difference(&Draft::new(files()).unwrap()).unwrap(), Difference::Unconfirmed);
    store.settle(0, &mut ignore).unwrap();

    type Change = fn(&mut Vec<DraftFile>);
    let changed = |change: Change| {
        let mut files = files();
        change(&mut files);
        Draft::new(files).unwrap()
    };
    let table: [(Change, Difference); 8] = [
        (|_| {}, Difference::None),
        (|files| files.reverse(), Difference::None),
        (|files| files[0].content = "2".into(), Difference::Files),
        (|files| files[0].content = "11".into(), Difference::Files),
        (|files| files[1].mode = 0o440, Difference::Files),
        (|files| files[1].name = FileName::new("b/d").unwrap(), Difference::Files),
        (|files| files.push(file("d", "")), Difference::Files),
        (|files| drop(files.pop()), Difference::Files),
    ];
    let times = || {
        ["", "a", "b/c", ".versions/journal", ".versions"].map(|name| {
            let metadata = fs::symlink_metadata(dir.path().join(name)).unwrap();
            (metadata.mtime_nsec(), metadata.ctime_nsec(), metadata.ino())
        })
    };
    let before = times();
    for (number, (change, expected)) in table.into_iter().enumerate() {
        assert_eq!(store.difference(&changed(change)).unwrap(), expected, "{number}");
    }
    assert_eq!(times(), before);

    let path = dir.path().join("current/a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(store.difference(&changed(|_| {})).unwrap(), Difference::Files, "changed by others");
    fs::remove_file(&path).unwrap();
    assert_eq!(store.difference(&changed(|_| {})).unwrap(), Difference::Files, "removed by others");
}

#[test]
fn old_versions_go_but_never_one_that_is_needed() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    for number in 1..=5 {
        bring(&mut store, &draft(&[("a", &number.to_string())]), 2);
    }
    assert_eq!(versions(dir.path()), ["3", "4", "5"]);
    let next = draft(&[("a", "6")]);
    assert_eq!(store.stage(&next, Vec::new(), &mut ignore).unwrap(), 6);
    store.swap(&mut ignore).unwrap();
    drop(store);
    // Version 5 is where the way back leads to.
    let (mut store, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!(recovery, Recovery { found: Found::Unconfirmed(6), journal_lost: None, removed: 0 });
    assert_eq!(store.go_back(&mut ignore).unwrap(), Some(5));
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "5");
    store.drop_tried(&mut ignore).unwrap();
    assert_eq!(versions(dir.path()), ["3", "4", "5"]);
    // A number is never used again.
    bring(&mut store, &next, 0);
    assert_eq!(store.current(), Some(7));
    assert_eq!(versions(dir.path()), ["7"]);
}

#[test]
fn notes_outlive_the_files_of_their_version() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    for number in 1..=3 {
        let text = number.to_string();
        store.stage(&draft(&[("a", &text)]), text.clone().into(), &mut ignore).unwrap();
        store.swap(&mut ignore).unwrap();
        store.settle(0, &mut ignore).unwrap();
    }
    store.note(2, b"two".to_vec()).unwrap();
    store.forget(1).unwrap();
    drop(store);
    let mut store = open(dir.path());
    let notes: Vec<_> = store.notes().map(|(version, notes)| (version, notes.to_vec())).collect();
    assert_eq!(notes, [(2, b"two".to_vec()), (3, b"3".to_vec())]);
    store.note(3, vec![0; NOTES]).unwrap();
    assert!(matches!(store.note(3, vec![0; NOTES + 1]), Err(StoreError::Notes(_))));
}

#[test]
fn who_opens_the_folder_once_reads_one_version_however_often_it_changes() {
    let dir = TempDir::new_in("/dev/shm").unwrap();
    let mut store = open(dir.path());
    bring(&mut store, &draft(&[("crt", "0"), ("key", "0")]), 2);
    let is_over = Arc::new(AtomicBool::new(false));
    let (over, current) = (is_over.clone(), dir.path().join("current"));
    let reader = std::thread::spawn(move || {
        let mut read = 0;
        while !over.load(Ordering::SeqCst) || read < 100 {
            // The link itself is there at any moment.
            fs::read_link(&current).unwrap();
            // It may be so slow that the version is gone already, but it is never mixed.
            let Ok(version) = current.canonicalize() else { continue };
            if let (Ok(crt), Ok(key)) =
                (fs::read_to_string(version.join("crt")), fs::read_to_string(version.join("key")))
            {
                assert_eq!(crt, key);
                read += 1;
            }
        }
    });
    for number in 1..300 {
        let text = number.to_string();
        bring(&mut store, &draft(&[("crt", &text), ("key", &text)]), 2);
    }
    is_over.store(true, Ordering::SeqCst);
    reader.join().unwrap();
}

#[tokio::test]
async fn who_watches_the_directory_sees_the_swap() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    bring(&mut store, &draft(&[("a", "1")]), 1);
    let mut notices = inotify::Inotify::init().unwrap();
    let mask = inotify::WatchMask::MOVED_TO | inotify::WatchMask::CREATE;
    notices.watches().add(dir.path(), mask).unwrap();
    let mut watch = FileWatch::new(dir.path().join("a"));
    bring(&mut store, &draft(&[("a", "2"), ("b", "2")]), 1);
    let mut buffer = [0; 4096];
    let events: Vec<_> = notices
        .read_events(&mut buffer)
        .unwrap()
        .map(|event| (event.mask, event.name.unwrap().to_owned()))
        .collect();
    let renamed = (inotify::EventMask::MOVED_TO, "current".into());
    assert!(events.contains(&renamed), "{events:?}");
    assert!(events.contains(&(inotify::EventMask::CREATE, "b".into())), "{events:?}");
    tokio::time::timeout(pillion_testkit::PATIENCE, watch.changed()).await.unwrap();
}

#[test]
fn a_directory_belongs_to_one_store() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Busy(_))));
    drop(store);
    open(dir.path());
}

#[test]
fn what_somebody_plants_is_refused_and_not_followed() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("victim"), "untouched").unwrap();
    type Plant = fn(&Path, &Path);
    let table: [(&str, Plant); 7] = [
        ("a link for the versions", |dir, out| symlink(out, dir.join(".versions")).unwrap()),
        ("a folder that others may write into", |dir, _| {
            fs::create_dir(dir.join(".versions")).unwrap();
            fs::set_permissions(dir.join(".versions"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("a link elsewhere as current", |dir, out| symlink(out, dir.join("current")).unwrap()),
        ("a link up as current", |dir, _| symlink(".versions/../..", dir.join("current")).unwrap()),
        ("a folder as current", |dir, _| fs::create_dir(dir.join("current")).unwrap()),
        ("a link as a file", |dir, out| symlink(out.join("victim"), dir.join("a")).unwrap()),
        ("a file as a file", |dir, _| fs::write(dir.join("a"), "mine").unwrap()),
    ];
    for (what, plant) in table {
        let dir = TempDir::new().unwrap();
        plant(dir.path(), outside.path());
        let result = Store::open(dir.path()).and_then(|(mut store, _)| {
            let staged = store.stage(&draft(&[("a", "x")]), Vec::new(), &mut ignore);
            assert!(versions(dir.path()).is_empty(), "{what}: nothing was written");
            staged
        });
        let error = result.expect_err(what).to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{what}: {error}");
    }
    let names: Vec<_> =
        fs::read_dir(outside.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["victim"]);
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
}

#[test]
fn links_planted_within_a_version_are_removed_and_not_followed() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("victim"), "untouched").unwrap();
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    bring(&mut store, &draft(&[("a", "1")]), 0);
    symlink(outside.path(), dir.path().join(".versions/1/folder")).unwrap();
    symlink(outside.path(), dir.path().join(".current.new")).unwrap();
    bring(&mut store, &draft(&[("a", "2")]), 0);
    assert_eq!(versions(dir.path()), ["2"]);
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
}

#[test]
fn a_link_that_was_removed_is_made_again_at_start() {
    let dir = TempDir::new().unwrap();
    let files = draft(&[("a", "1"), ("b/c", "2")]);
    bring(&mut open(dir.path()), &files, 0);
    for name in ["a", "b", "current"] {
        fs::remove_file(dir.path().join(name)).unwrap();
        open(dir.path());
        assert_eq!(seen(dir.path()), expected(&files), "{name}");
    }
}

#[test]
fn without_a_journal_to_trust_what_is_current_counts_as_confirmed() {
    type Damage = fn(&Path);
    let table: [Damage; 3] = [
        |journal| fs::remove_file(journal).unwrap(),
        |journal| fs::write(journal, "").unwrap(),
        |journal| {
            let mut bytes = fs::read(journal).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(journal, bytes).unwrap();
        },
    ];
    for damage in table {
        let dir = TempDir::new().unwrap();
        let mut store = open(dir.path());
        bring(&mut store, &draft(&[("a", "1")]), 1);
        bring(&mut store, &draft(&[("a", "2")]), 1);
        store.stage(&draft(&[("a", "3")]), Vec::new(), &mut ignore).unwrap();
        drop(store);
        damage(&dir.path().join(".versions/journal"));
        let (store, recovery) = Store::open(dir.path()).unwrap();
        assert_eq!((recovery.found, recovery.removed), (Found::Settled, 1));
        assert!(recovery.journal_lost.is_some());
        assert_eq!((store.current(), store.confirmed()), (Some(2), Some(2)));
        assert_eq!(versions(dir.path()), ["1", "2"]);
    }
}

#[test]
fn a_folder_in_memory_is_told_from_one_on_a_disk() {
    let shm = TempDir::new_in("/dev/shm").unwrap();
    assert!(open(shm.path()).is_memory_backed().unwrap());
    // The folder that the tests are built in is on a disk.
    let disk = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    assert!(!open(disk.path()).is_memory_backed().unwrap());
}

#[test]
fn nothing_is_swapped_settled_or_taken_back_while_nothing_is_under_way() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    bring(&mut store, &draft(&[("a", "1")]), 0);
    assert!(matches!(store.swap(&mut ignore), Err(StoreError::Idle(_))));
    assert!(matches!(store.settle(0, &mut ignore), Err(StoreError::Idle(_))));
    assert!(matches!(store.go_back(&mut ignore), Err(StoreError::Idle(_))));
    assert!(matches!(store.drop_tried(&mut ignore), Err(StoreError::Idle(_))));
}

/// What happens to a set, in the property below.
#[derive(Clone, Debug)]
struct Round {
    draft: Vec<(String, String)>,
    is_good: bool,
    /// After so many steps the process is no more.
    ends_after: Option<usize>,
}

fn round() -> impl Strategy<Value = Round> {
    let name = prop::sample::select(vec!["a", "b", "c/d", "c/e/f", "g"]).prop_map(str::to_owned);
    let files = prop::collection::btree_map(name, "[a-c]{0,3}", 0..5);
    let ends = prop::option::of(0..16_usize);
    (files, any::<bool>(), ends).prop_map(|(files, is_good, ends_after)| Round {
        draft: files.into_iter().collect(),
        is_good,
        ends_after,
    })
}

/// One transaction, as far as the store goes; a panic stands for the end of the process.
fn transact(store: &mut Store, draft: &Draft, round: &Round) {
    let mut left = round.ends_after;
    let mut observe = move |_| {
        if let Some(left) = &mut left {
            *left = left.checked_sub(1).unwrap_or_else(|| resume_unwind(Box::new("the end")));
        }
    };
    store.stage(draft, b"noted".to_vec(), &mut observe).unwrap();
    store.swap(&mut observe).unwrap();
    if round.is_good {
        store.settle(1, &mut observe).unwrap();
    } else if store.go_back(&mut observe).unwrap().is_some() {
        store.drop_tried(&mut observe).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn a_set_is_one_whole_version_wherever_the_process_ends(
        rounds in prop::collection::vec(round(), 1..6)
    ) {
        let dir = TempDir::new_in("/dev/shm").unwrap();
        let mut whole = Vec::from([Draft::default()]);
        for round in rounds {
            let files: Vec<_> = round.draft.iter().map(|(name, text)| (&**name, &**text)).collect();
            let draft = draft(&files);
            whole.push(draft.clone());
            let (mut store, _) = Store::open(dir.path()).unwrap();
            if store.trying().is_some_and(|trying| trying.before.is_some()) {
                store.go_back(&mut ignore).unwrap();
                store.drop_tried(&mut ignore).unwrap();
            }
            let before = seen(dir.path());
            let ended = catch_unwind(AssertUnwindSafe(|| transact(&mut store, &draft, &round)));
            drop(store);
            let (_, recovery) = Store::open(dir.path()).unwrap();
            let now = seen(dir.path());
            prop_assert_eq!(&now, &seen_through_current(dir.path()));
            prop_assert!(whole.iter().any(|draft| expected(draft) == now), "{:?}", now);
            if ended.is_ok() && round.is_good {
                prop_assert_eq!(&now, &expected(&draft));
                prop_assert_eq!(recovery.found, Found::Settled);
            }
            prop_assert!(now == before || now == expected(&draft), "{:?}", now);
            // Nothing is left but what is needed and one old version.
            prop_assert!(versions(dir.path()).len() <= 4, "{:?}", versions(dir.path()));
        }
    }
}
