//! What a folder of the cache was made from, so that it is made again when that changes.

use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};

/// A folder of the cache, and the text that decides what is in it.
pub(super) struct Recipe {
    folder: PathBuf,
    text: String,
}

impl Recipe {
    /// The recipe `text` of `folder`.
    pub(super) fn new(folder: PathBuf, text: String) -> Self {
        Self { folder, text }
    }

    /// The folder that is made.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder was made from this very text, to the end.
    pub(super) fn is_done(&self) -> bool {
        std::fs::read_to_string(self.note()).is_ok_and(|done| done == self.text)
    }

    /// Empties the folder, has it filled, and notes what it was made from when that succeeds.
    pub(super) fn make(&self, fill: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let folder = self.folder.display();
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).doing(format!("removing {folder}"))?;
        }
        std::fs::create_dir_all(&self.folder).doing(format!("making {folder}"))?;
        fill()?;
        std::fs::write(self.note(), &self.text).doing(format!("noting what is in {folder}"))
    }

    fn note(&self) -> PathBuf {
        self.folder.join("recipe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_again_when_its_recipe_changes_or_it_was_not_finished() {
        let cache = std::env::temp_dir().join(format!("pillion-recipe-{}", std::process::id()));
        let recipe = |text: &str| Recipe::new(cache.join("peer"), text.to_owned());
        assert!(!recipe("one").is_done());
        recipe("one").make(|| Err(Failure::new("no network"))).unwrap_err();
        assert!(!recipe("one").is_done());
        recipe("one").make(|| Ok(())).unwrap();
        assert!(recipe("one").is_done());
        assert!(!recipe("two").is_done());
        recipe("two").make(|| Err(Failure::new("no network"))).unwrap_err();
        assert!(!recipe("one").is_done(), "what is half made is not what it was");
        std::fs::remove_dir_all(cache).unwrap();
    }
}
