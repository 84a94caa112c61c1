//! When changes of a file are told, on virtual time.

use super::folders::places;
use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Generous: it is only waited for when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

/// Changes something while the watch waits, and expects to hear of it by a notice (and not by
/// looking from time to time).
async fn hears(watch: &mut FileWatch, what: &str, change: impl FnOnce()) {
    assert!(watch.notices.is_some());
    let began = Instant::now();
    // Polled in this order: first the watch begins to wait.
    let changed = async {
        tokio::join!(biased; watch.changed(), async { change() });
    };
    timeout(PATIENCE, changed).await.unwrap_or_else(|_| panic!("not heard: {what}"));
    assert!(began.elapsed() < LOOK, "heard too late: {what}");
}

/// Changes something that is no change of the contents; the next real change is the one reported.
async fn ignores(watch: &mut FileWatch, what: &str, change: impl FnOnce()) {
    change();
    let quiet = timeout(QUIET * 4, watch.changed()).await;
    assert!(quiet.is_err(), "reported: {what}");
}

#[tokio::test]
async fn a_file_that_is_written_or_replaced_is_heard() {
    let folder = Folder::new();
    let path = folder.write("pillion.yaml", "one");
    let mut watch = FileWatch::new(&path);
    hears(&mut watch, "written in place", || fs::write(&path, "two").unwrap()).await;
    let new = folder.write("new", "three");
    hears(&mut watch, "renamed over", || fs::rename(new, &path).unwrap()).await;
    hears(&mut watch, "truncated", || fs::write(&path, "").unwrap()).await;
    hears(&mut watch, "removed", || fs::remove_file(&path).unwrap()).await;
    hears(&mut watch, "created", || fs::write(&path, "four").unwrap()).await;
    ignores(&mut watch, "the same text again", || fs::write(&path, "four").unwrap()).await;
    ignores(&mut watch, "another file", || drop(folder.write("other", "x"))).await;
    hears(&mut watch, "after all that", || fs::write(&path, "five").unwrap()).await;
}

#[tokio::test]
async fn the_kubelets_swap_of_a_config_map_is_heard() {
    let folder = Folder::new();
    folder.write("..one/pillion.yaml", "one");
    symlink("..one", folder.path("..data")).unwrap();
    symlink("..data/pillion.yaml", folder.path("pillion.yaml")).unwrap();
    let mut watch = FileWatch::new(folder.path("pillion.yaml"));
    for (old, new) in [("..one", "..two"), ("..two", "..three")] {
        hears(&mut watch, new, || {
            folder.write(&format!("{new}/pillion.yaml"), new);
            symlink(new, folder.path("..data_tmp")).unwrap();
            fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
            fs::remove_dir_all(folder.path(old)).unwrap();
        })
        .await;
        let text = fs::read_to_string(watch.path()).unwrap();
        assert_eq!(text, new);
    }
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_is_heard() {
    let folder = Folder::new();
    let path = folder.write("a/b/pillion.yaml", "one");
    let mut watch = FileWatch::new(&path);
    hears(&mut watch, "removed", || fs::remove_dir_all(folder.path("a")).unwrap()).await;
    hears(&mut watch, "made again", || drop(folder.write("a/b/pillion.yaml", "two"))).await;
    hears(&mut watch, "moved away", || {
        fs::rename(folder.path("a/b"), folder.path("a/c")).unwrap();
    })
    .await;
    hears(&mut watch, "another in its place", || {
        folder.write("a/d/pillion.yaml", "three");
        fs::rename(folder.path("a/d"), folder.path("a/b")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_change_before_the_wait_is_not_missed() {
    let folder = Folder::new();
    let path = folder.write("pillion.yaml", "one");
    let mut watch = FileWatch::new(&path);
    fs::write(&path, "two").unwrap();
    timeout(PATIENCE, watch.changed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_notices_the_file_is_polled() {
    let folder = Folder::new();
    let path = folder.write("pillion.yaml", "one");
    let mut watch = FileWatch::new(&path);
    watch.notices = None;
    let began = Instant::now();
    tokio::join!(watch.changed(), async { fs::write(&path, "two").unwrap() });
    assert_eq!(began.elapsed(), POLL + QUIET);
}

#[test]
fn a_change_counts_once_it_is_quiet_and_at_the_latest_after_a_second() {
    let began = Instant::now();
    let at = |millis| began + Duration::from_millis(millis);
    let left = |settling: &Settling, millis| settling.left(at(millis)).map(|left| left.as_millis());
    let mut settling = Settling::begin(began);
    assert_eq!(left(&settling, 0), Some(50));
    settling.disturb(at(30));
    assert_eq!(left(&settling, 30), Some(50));
    assert_eq!(left(&settling, 79), Some(1));
    assert_eq!(left(&settling, 80), None);
    settling.disturb(at(990));
    assert_eq!(left(&settling, 990), Some(10));
    settling.disturb(at(1000));
    assert_eq!(left(&settling, 1000), None);
}

#[test]
fn what_is_not_a_file_is_unreadable_and_does_not_block() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [pipe, folder.path("."), folder.path("nothing")] {
        assert!(matches!(Contents::of(&path), Contents::Unreadable(_)), "{}", path.display());
    }
}

#[test]
fn the_way_to_a_file_leads_through_its_links() {
    let folder = Folder::new();
    // The temporary folder may itself lie behind a link.
    let root = folder.0.path().canonicalize().unwrap();
    folder.write("real/file", "x");
    symlink("real", root.join("relative")).unwrap();
    symlink(root.join("relative"), root.join("absolute")).unwrap();
    symlink("../real/../relative/file", root.join("real/link")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let table: [(&str, &[&str]); 8] = [
        ("real/file", &["real"]),
        ("relative/file", &["", "real"]),
        ("absolute/file", &["", "real"]),
        ("absolute/link", &["", "real"]),
        ("real/missing", &["real"]),
        ("missing/further/on", &[""]),
        ("real/file/below", &["real"]),
        ("loop/file", &[""]),
    ];
    for (path, folders) in table {
        let expected = folders.iter().map(|folder| root.join(folder)).collect();
        // `join("")` adds a slash, which comparing paths ignores.
        assert_eq!(places(&root.join(path)).unwrap().folders, expected, "{path}");
    }
}

#[tokio::test]
async fn a_folder_is_watched_with_all_that_is_in_it() {
    let folder = Folder::new();
    folder.write("conf/a", "1");
    let mut watch = FileWatch::new(folder.path("conf"));
    hears(&mut watch, "written", || drop(folder.write("conf/a", "2"))).await;
    hears(&mut watch, "added", || drop(folder.write("conf/b", "1"))).await;
    hears(&mut watch, "added in a folder", || drop(folder.write("conf/c/d", "1"))).await;
    hears(&mut watch, "written in a folder", || drop(folder.write("conf/c/d", "2"))).await;
    hears(&mut watch, "renamed", || {
        fs::rename(folder.path("conf/a"), folder.path("conf/e")).unwrap();
    })
    .await;
    hears(&mut watch, "removed", || fs::remove_file(folder.path("conf/b")).unwrap()).await;
    ignores(&mut watch, "touched", || drop(folder.write("conf/e", "2"))).await;
    ignores(&mut watch, "beside it", || drop(folder.write("other", "1"))).await;
}
