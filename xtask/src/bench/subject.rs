//! What is measured.

use crate::failure::Failure;

/// One program under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Pillion with everything on that the role has on by default, and what `bench/` adds.
    Pillion,
    /// HAProxy with nothing on.
    Haproxy,
    /// HAProxy doing what Pillion does.
    HaproxyFeatured,
    /// nginx with the like of it, as far as it goes.
    Nginx,
    /// Envoy as a sidecar has it.
    Envoy,
    /// A relay that does not look at the bytes: the floor of the proxy.
    Relay,
    /// No proxy at all: what the load generator and the origin take.
    Direct,
    /// Fluent Bit, which ships logs.
    FluentBit,
    /// `wc -l`, which only counts lines: the floor of the logs.
    WcL,
    /// OpenBao's own agent, which delivers secrets.
    BaoAgent,
}

impl Subject {
    /// Its name in tables and reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pillion => "pillion",
            Self::Haproxy => "haproxy",
            Self::HaproxyFeatured => "haproxy-featured",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Relay => "relay",
            Self::Direct => "direct",
            Self::FluentBit => "fluent-bit",
            Self::WcL => "wc-l",
            Self::BaoAgent => "bao-agent",
        }
    }

    /// Why a subject has no place in a case.
    pub(super) fn cannot(self, what: &str) -> Failure {
        Failure::new(format!("{} does not {what}", self.name()))
    }
}
