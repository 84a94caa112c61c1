//! The parts of Pillion that are measured, each beside peers of its own.

use std::path::Path;
use std::process::Command;

use super::logs::FluentBit;
use super::subject::Subject;
use crate::failure::{Doing, Failure};
use crate::{program, setup};

use Subject::{
    BaoAgent, Direct, Envoy, FluentBit as Fluent, Haproxy, HaproxyFeatured, Nginx, Pillion, Relay,
    WcL,
};

/// A role of Pillion: a table of its own in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Carries traffic.
    Proxy,
    /// Ships logs.
    Logs,
    /// Delivers secrets.
    Secrets,
}

impl Role {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Self; 3] = [Self::Proxy, Self::Logs, Self::Secrets];

    /// Its name in the page's marks and in headings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Logs => "logs",
            Self::Secrets => "secrets",
        }
    }

    /// Who is measured, in the order of the table's columns.
    pub(super) const fn subjects(self) -> &'static [Subject] {
        match self {
            Self::Proxy => &[Pillion, Haproxy, HaproxyFeatured, Nginx, Envoy, Relay, Direct],
            Self::Logs => &[Pillion, Fluent, WcL],
            Self::Secrets => &[Pillion, BaoAgent],
        }
    }

    /// How it was measured, for the reader of the table.
    pub(super) const fn fairness(self) -> &'static str {
        match self {
            Self::Proxy => {
                "Each subject ran alone on one core; load generator and origin shared the other. \
                 The subjects took turns, in another order each round. Numbers are medians over \
                 the rounds; in brackets, the median of what Pillion took for one of the peer \
                 within the same round. CPU time is that of all threads and child processes of \
                 the subject. `haproxy` and `relay` do nothing but forward; the configurations \
                 are in `bench/`."
            }
            Self::Logs => {
                "Each subject ran alone on one core and read the same file; the HTTP receiver, \
                 which swallows what it gets, had the other. Numbers are medians over the rounds; \
                 in brackets, the median of what Pillion did for one of the peer within the same \
                 round, so that more is better where the number is a speed. CPU time is that of \
                 the whole process from its start, peak memory its highest resident memory."
            }
            Self::Secrets => {
                "Each subject ran alone on one core; OpenBao and who changes the secret shared the \
                 other. Numbers are medians over the rounds; in brackets, the median of what \
                 Pillion took for one of the peer within the same round."
            }
        }
    }

    /// What each peer says of its version.
    pub(super) fn peers(self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Proxy => proxies(),
            Self::Logs => match FluentBit::find()? {
                Some(FluentBit(program)) => Ok(vec![version(&program, "--version")?]),
                None => Ok(vec!["no Fluent Bit".to_owned()]),
            },
            Self::Secrets => Ok(vec![version(&setup::openbao()?, "version")?]),
        }
    }
}

fn proxies() -> Result<Vec<String>, Failure> {
    let envoy = version(&setup::envoy()?, "--version")?;
    // The path of the program comes before its version.
    let envoy = envoy.rsplit_once("version:").map_or(envoy.as_str(), |(_, version)| version);
    let haproxy = version(&program::installed("haproxy")?, "-v")?;
    let haproxy = haproxy.split(" - ").next().unwrap_or_default().to_owned();
    let nginx = version(&program::installed("nginx")?, "-v")?;
    Ok(vec![haproxy, nginx, format!("Envoy {}", envoy.trim())])
}

/// The first line of what a program says of its version.
fn version(program: &Path, question: &str) -> Result<String, Failure> {
    let output = Command::new(program).arg(question).output();
    let output = output.doing(format!("starting {}", program.display()))?;
    // nginx answers on its standard error.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(first.unwrap_or_default().trim_start_matches("nginx version: ").to_owned())
}
