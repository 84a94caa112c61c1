//! The steps of a transaction, in order: what an observer is told, and where a test ends the
//! process.

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The journal names the version that is being tried.
    Begun,
    /// Its folder is there, empty.
    FolderMade,
    /// One of its files is written.
    FileWritten,
    /// The folder is complete and on disk.
    Staged,
    /// All checks passed.
    Checked,
    /// The link that is going to replace `current` is there, beside it.
    LinkMade,
    /// `current` leads to the new version.
    Swapped,
    /// The links of the files fit the new version.
    Aligned,
    /// The app was told.
    Told,
    /// The app confirmed.
    Confirmed,
    /// The journal names the version as confirmed.
    Settled,
    /// Versions that are too old are gone.
    Pruned,
    /// The journal says that the way back is being taken.
    Returning,
    /// `current` leads to the old version again.
    Returned,
    /// What was tried is gone, and the journal has forgotten it.
    Dropped,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 15] = [
        Self::Begun,
        Self::FolderMade,
        Self::FileWritten,
        Self::Staged,
        Self::Checked,
        Self::LinkMade,
        Self::Swapped,
        Self::Aligned,
        Self::Told,
        Self::Confirmed,
        Self::Settled,
        Self::Pruned,
        Self::Returning,
        Self::Returned,
        Self::Dropped,
    ];

    /// The word in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::FolderMade => "folder_made",
            Self::FileWritten => "file_written",
            Self::Staged => "staged",
            Self::Checked => "checked",
            Self::LinkMade => "link_made",
            Self::Swapped => "swapped",
            Self::Aligned => "aligned",
            Self::Told => "told",
            Self::Confirmed => "confirmed",
            Self::Settled => "settled",
            Self::Pruned => "pruned",
            Self::Returning => "returning",
            Self::Returned => "returned",
            Self::Dropped => "dropped",
        }
    }
}

/// Who is told of each step, right after it.
pub type Observer<'a> = dyn FnMut(Step) + Send + 'a;
