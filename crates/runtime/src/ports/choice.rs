//! Which of the app's open ports is the one that takes its traffic.

use std::fmt;
use std::net::SocketAddr;

use super::probe::Speaks;

/// Why a port was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the only one.
    OnlyOne,
    /// Of several, it is the first that speaks HTTP.
    SpeaksHttp,
    /// Of several, none speaks HTTP; it has the lowest number.
    NoneSpeaksHttp,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnlyOne => "the only open port",
            Self::SpeaksHttp => "the first open port that speaks HTTP",
            Self::NoneSpeaksHttp => "the lowest of several open ports, none of which speaks HTTP",
        })
    }
}

/// An open port of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
    /// `None`: it was not asked.
    pub(super) speaks: Option<Speaks>,
}

/// Chooses among `candidates`. One that speaks HTTP and is the `current` choice stays.
pub(super) fn choose(
    candidates: &[Candidate],
    current: Option<SocketAddr>,
) -> Option<(SocketAddr, Why)> {
    if let [only] = candidates {
        return Some((only.address, Why::OnlyOne));
    }
    let order = |candidate: &&Candidate| {
        (Some(candidate.address) != current, candidate.address.port(), candidate.address)
    };
    let http = candidates.iter().filter(|candidate| candidate.speaks == Some(Speaks::Http));
    if let Some(candidate) = http.min_by_key(order) {
        return Some((candidate.address, Why::SpeaksHttp));
    }
    let lowest = candidates.iter().min_by_key(|candidate| candidate.address.port())?;
    Some((lowest.address, Why::NoneSpeaksHttp))
}
