//! Configuration from elsewhere.

mod etcd;
mod http;
mod volume;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pillion_model::secrets::{ConfigOrigin, Limits};
use pillion_secrets::sources::{Files, Source, SourceError};
use pillion_testkit::PATIENCE;

use crate::files::Seen;

const LIMITS: Limits = Limits { files: 8, bytes: 64 };

fn source(origin: &ConfigOrigin) -> Source {
    Source::new(origin, LIMITS, Box::new(|| 0.5)).unwrap()
}

fn folder(path: &Path) -> Source {
    source(&ConfigOrigin::Files(path.to_owned()))
}

/// What the source gives next.
async fn next(source: &mut Source) -> Result<Files, SourceError> {
    tokio::time::timeout(PATIENCE, source.next()).await.unwrap()
}

/// Asks until the files are these, as a source may give a state in between.
async fn until(source: &mut Source, expected: &Seen) -> Files {
    loop {
        // An error passes: a server that starts refuses connections for a while.
        if let Ok(files) = next(source).await
            && texts(&files) == *expected
        {
            return files;
        }
    }
}

/// The source gives nothing for a while.
async fn is_silent(source: &mut Source) {
    let news = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
    assert!(news.is_err(), "{news:?}");
}

fn texts(files: &Files) -> Seen {
    let text = |secret: &pillion_runtime::board::Secret| secret.reveal_text().unwrap().to_owned();
    files.files.iter().map(|(name, content)| (name.to_string(), text(content))).collect()
}

fn seen(files: &[(&str, &str)]) -> Seen {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    files.iter().map(owned).collect::<BTreeMap<_, _>>()
}
