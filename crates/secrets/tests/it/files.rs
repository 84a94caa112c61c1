//! Sets of files as these tests write and see them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pillion_secrets::store::{Draft, DraftFile, FileName};

/// Names and contents.
pub(crate) type Seen = BTreeMap<String, String>;

/// A file for us alone.
pub(crate) fn file(name: &str, content: &str) -> DraftFile {
    DraftFile {
        name: FileName::new(name).unwrap(),
        content: content.into(),
        mode: 0o400,
        owner: None,
    }
}

/// A draft of these files.
pub(crate) fn draft(files: &[(&str, &str)]) -> Draft {
    Draft::new(files.iter().map(|(name, content)| file(name, content)).collect()).unwrap()
}

/// What a draft ought to look like.
pub(crate) fn expected(draft: &Draft) -> Seen {
    let text = |file: &DraftFile| file.content.reveal_text().unwrap().to_owned();
    draft.files().iter().map(|file| (file.name.to_string(), text(file))).collect()
}

/// What an app sees in the directory of a set: the files behind each name that it may open, without
/// what is ours.
pub(crate) fn seen(directory: &Path) -> Seen {
    let mut found = Seen::new();
    for entry in fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "current" && !name.starts_with(".versions") {
            collect(&directory.join(&name), &name, &mut found);
        }
    }
    found
}

/// What is behind `current`, which has to be the same.
pub(crate) fn seen_through_current(directory: &Path) -> Seen {
    let mut found = Seen::new();
    let current = directory.join("current");
    if current.exists() {
        for entry in fs::read_dir(&current).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            collect(&current.join(&name), &name, &mut found);
        }
    }
    found
}

fn collect(path: &Path, name: &str, found: &mut Seen) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let inner = entry.unwrap().file_name().into_string().unwrap();
            collect(&path.join(&inner), &format!("{name}/{inner}"), found);
        }
    } else {
        found.insert(name.to_owned(), fs::read_to_string(path).unwrap());
    }
}

/// The names below `.versions` that are folders.
pub(crate) fn versions(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.join(".versions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["journal", "lock"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}
