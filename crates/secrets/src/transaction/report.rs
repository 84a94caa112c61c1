//! What came of a transaction: for the status page, metrics and the log.

use std::fmt;
use std::time::Duration;

use crate::store::Version;

/// What came of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What was done, in order.
    pub done: Vec<Done>,
    /// What is not right, but no reason to keep the version out.
    pub warnings: Vec<String>,
}

/// One part that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which one.
    pub part: Part,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, without secrets; `None`: it did not.
    pub fault: Option<String>,
}

/// A part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Comparing the files with those of the current version.
    Compare,
    /// Taking up a version that is current but was never confirmed.
    Resume,
    /// Writing the version.
    Stage,
    /// One check, by its place in the configuration, from 0.
    Check(usize),
    /// Swapping it in.
    Swap,
    /// Telling the app.
    Tell,
    /// Waiting for its confirmation.
    Confirm,
    /// Recording that, and removing old versions.
    Settle,
    /// Swapping the old version in again.
    Return,
    /// Telling the app of that.
    TellBack,
    /// Waiting until it confirms the old version.
    ConfirmBack,
    /// Removing the version that failed.
    Drop,
}

impl Part {
    pub(super) const TELL: [Self; 2] = [Self::Tell, Self::Confirm];
    pub(super) const TELL_BACK: [Self; 2] = [Self::TellBack, Self::ConfirmBack];

    /// The word in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Resume => "resume",
            Self::Stage => "stage",
            Self::Check(_) => "check",
            Self::Swap => "swap",
            Self::Tell => "tell",
            Self::Confirm => "confirm",
            Self::Settle => "settle",
            Self::Return => "return",
            Self::TellBack => "tell_back",
            Self::ConfirmBack => "confirm_back",
            Self::Drop => "drop",
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// These files are there already and confirmed. Nothing was touched, nobody was told.
    #[default]
    Unchanged,
    /// The app uses this version. What may be left over are old versions that could not be removed.
    Settled(Version),
    /// It failed before any name led to the new version: the app saw nothing of it.
    Refused,
    /// It failed later, and names lead to the old version again.
    Returned {
        /// The version that failed.
        from: Version,
        /// The version that is in use again.
        to: Version,
    },
    /// The app has not confirmed this version, and there is nothing older to go back to.
    Standing(Version),
    /// The app uses this version, but that could not be recorded: it is tried again.
    Unrecorded(Version),
    /// It failed, and so did the way back: names may lead to this version, which nobody confirmed.
    /// The next transaction takes the way back first.
    Stuck(Version),
}

impl Outcome {
    /// The word in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Settled(_) => "settled",
            Self::Refused => "refused",
            Self::Returned { .. } => "returned",
            Self::Standing(_) => "standing",
            Self::Unrecorded(_) => "unrecorded",
            Self::Stuck(_) => "stuck",
        }
    }
}

/// One sentence for the log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Unchanged => f.write_str("unchanged")?,
            Outcome::Settled(version) => write!(f, "version {version} is in use")?,
            Outcome::Refused => f.write_str("the new version was refused and the old one stays")?,
            Outcome::Returned { from, to } => {
                write!(f, "version {from} failed and version {to} is in use again")?;
            }
            Outcome::Standing(version) => {
                write!(f, "version {version} was not confirmed, and there is no older one")?;
            }
            Outcome::Unrecorded(version) => {
                write!(f, "version {version} is in use, which could not be recorded")?;
            }
            Outcome::Stuck(version) => {
                write!(f, "version {version} failed and could not be taken back")?;
            }
        }
        for done in self.done.iter().filter(|done| done.fault.is_some()) {
            write!(f, "; {}: {}", done.part.label(), done.fault.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}
