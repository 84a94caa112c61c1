//! Keys of etcd below a prefix, through the JSON gateway of its API version 3.
//!
//! All keys are read once, with the revision of the store. From the revision after that a watch
//! tells every change; a new connection goes on where the last one ended, so nothing is missed. Where
//! that revision is compacted, all is read again. A watch may be dead without a sound, so after some
//! silence the newest revision and the number of keys are asked for: only that they are known proves
//! that the watch is not (the server's own notices of progress come every ten minutes).

mod gateway;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use pillion_client::Options;
use pillion_model::secrets::Limits;
use pillion_runtime::board::Secret;
use tokio::time::timeout;

use super::pace::Pace;
use super::{Files, Proof, SILENCE, SourceError};
use crate::store::{DraftError, FileName, check_amount};
use gateway::{Change, Gateway, News, Watch};

/// A prefix that is watched.
#[derive(Debug)]
pub(super) struct EtcdSource {
    gateway: Gateway,
    limits: Limits,
    /// After so long without news, the watch has to prove that it is alive.
    silence: Duration,
    state: Option<State>,
    watch: Option<Watch>,
}

/// What is known of the store.
#[derive(Debug)]
struct State {
    revision: i64,
    keys: BTreeMap<String, (FileName, Secret)>,
}

impl EtcdSource {
    pub(super) fn new(
        url: &str,
        options: &Options,
        prefix: &str,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let gateway = Gateway::new(url, options, prefix, limits)?;
        Ok(Self { gateway, limits, silence: SILENCE, state: None, watch: None })
    }

    /// All files: at once, then when the store has told of a change.
    pub(super) async fn next(
        &mut self,
        pace: &mut Pace,
        proof: &Proof,
    ) -> Result<Files, SourceError> {
        pace.recover().await;
        loop {
            let Some(state) = &mut self.state else { return self.read(proof).await };
            let Some(watch) = &mut self.watch else {
                self.watch = Some(self.gateway.watch(state.revision + 1).await?);
                continue;
            };
            let news = match timeout(self.silence, watch.next()).await {
                Ok(Ok(news)) => news,
                Ok(Err(error)) => {
                    self.watch = None;
                    // What cannot be a file would be told again and again, also when it is gone.
                    if matches!(error, SourceError::Unfit(_)) {
                        self.state = None;
                    }
                    return Err(error);
                }
                Err(_) => {
                    self.probe(proof).await?;
                    continue;
                }
            };
            match news {
                News::Progress(revision) => {
                    state.revision = state.revision.max(revision);
                    proof.give();
                }
                News::Changes(revision, changes) => {
                    apply(&mut state.keys, changes);
                    state.revision = state.revision.max(revision);
                    return self.proven_files(proof);
                }
                News::Compacted => self.forget(),
            }
        }
    }

    async fn read(&mut self, proof: &Proof) -> Result<Files, SourceError> {
        let (revision, pairs) = self.gateway.read().await?;
        let mut keys = BTreeMap::new();
        apply(&mut keys, pairs);
        self.state = Some(State { revision, keys });
        self.proven_files(proof)
    }

    /// The files; where they cannot be given, all is read again later, as nothing else would show
    /// that they can.
    fn proven_files(&mut self, proof: &Proof) -> Result<Files, SourceError> {
        let files = self.files();
        match &files {
            Ok(_) => proof.give(),
            Err(_) => self.forget(),
        }
        files
    }

    /// Makes sure that the watch has missed nothing.
    async fn probe(&mut self, proof: &Proof) -> Result<(), SourceError> {
        let (newest, count) = self.gateway.newest().await?;
        let is_known = |state: &State| newest <= state.revision && count == state.keys.len();
        if self.state.as_ref().is_some_and(is_known) {
            proof.give();
        } else {
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.state = None;
        self.watch = None;
    }

    fn files(&self) -> Result<Files, SourceError> {
        let (mut files, mut revision) = (BTreeMap::new(), 0);
        if let Some(state) = &self.state {
            revision = state.revision;
            for (name, content) in state.keys.values() {
                // With the prefix `app`, both `app/a` and `appa` are `a`.
                if files.insert(name.clone(), content.clone()).is_some() {
                    return Err(DraftError::Twice(name.to_string()).into());
                }
            }
        }
        check_amount(files.values(), self.limits)?;
        Ok(Files { files, version: format!("revision {revision}") })
    }
}

fn apply(keys: &mut BTreeMap<String, (FileName, Secret)>, changes: Vec<Change>) {
    for Change { key, name, content } in changes {
        match content {
            Some(content) => drop(keys.insert(key, (name, content))),
            None => drop(keys.remove(&key)),
        }
    }
}
