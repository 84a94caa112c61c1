//! Secrets: one round of one case on one deliverer.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::report::{Value, value};
use super::stand::Stand;
use super::subject::Subject;
use super::usage;
use crate::child::Running;
use crate::failure::Failure;
use crate::setup;

/// What is done to a deliverer of secrets.
#[derive(Clone, Copy)]
pub(super) enum SecretsWork {
    /// Memory once the secret is there and nothing happens.
    Rest,
    /// Time from a change on the server to the file.
    Refresh,
}

const SETTLE: Duration = Duration::from_secs(3);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Changes for each second that a load lasts elsewhere.
const CHANGES_PER_SECOND: u32 = 5;
/// Waits before changes, so that they fall everywhere into the second between two questions.
const PHASES_MS: [u64; 5] = [1100, 1310, 1520, 1730, 1940];
/// The secret, below `secret/`, and the folder of its file.
const NAME: &str = "bench";

/// Measures one round; there are 5 changes for each of the `seconds`.
pub(super) fn round(
    stand: &Stand,
    subject: Subject,
    work: SecretsWork,
    seconds: u32,
) -> Result<Vec<Value>, Failure> {
    let mut delivery = Delivery::start(stand, subject)?;
    match work {
        SecretsWork::Rest => {
            std::thread::sleep(SETTLE);
            let process = delivery.running.id();
            Ok(vec![
                value("memory_at_rest", "KiB", usage::resident_kib(process)?),
                value("anonymous_memory", "KiB", usage::anonymous_kib(process)?),
            ])
        }
        SecretsWork::Refresh => {
            let mut times = delivery.changes(seconds * CHANGES_PER_SECOND)?;
            times.sort_by(f64::total_cmp);
            let at = |position: usize| times.get(position).copied().unwrap_or(f64::NAN);
            Ok(vec![
                value("p50", "ms", at(times.len() / 2)),
                value("slowest", "ms", at(times.len() - 1)),
            ])
        }
    }
}

/// A deliverer at work, the file delivered.
struct Delivery<'a> {
    stand: &'a Stand,
    subject: Subject,
    running: Running,
    file: PathBuf,
}

impl<'a> Delivery<'a> {
    fn start(stand: &'a Stand, subject: Subject) -> Result<Self, Failure> {
        let first = "the first value";
        stand.openbao()?.put(NAME, &json!({ "password": first }))?;
        let folder = stand.empty_folder("secrets")?;
        let mut command = command(stand, subject, &folder)?;
        let running = stand.start(subject, &mut command)?;
        let mut delivery = Self { stand, subject, running, file: folder.join("password") };
        delivery.wait_for(first)?;
        Ok(delivery)
    }

    /// Milliseconds from each of so many changes to the file.
    fn changes(&mut self, count: u32) -> Result<Vec<f64>, Failure> {
        let mut times = Vec::new();
        for (number, phase) in (0..count).zip(PHASES_MS.iter().cycle()) {
            std::thread::sleep(Duration::from_millis(*phase));
            let password = format!("value {number}");
            self.stand.openbao()?.put(NAME, &json!({ "password": password }))?;
            let began = Instant::now();
            self.wait_for(&password)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    fn wait_for(&mut self, value: &str) -> Result<(), Failure> {
        let began = Instant::now();
        // It is not there before the first delivery.
        while std::fs::read_to_string(&self.file).unwrap_or_default() != value {
            let trouble = match self.running.ended() {
                Some(status) => format!("it ended: {status}"),
                None if began.elapsed() > DELIVERY_TIMEOUT => {
                    format!("{} is not there after {DELIVERY_TIMEOUT:?}", self.file.display())
                }
                None => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
            };
            return Err(self.stand.with_complaint(self.subject, &Failure::new(trouble)));
        }
        Ok(())
    }
}

fn command(stand: &Stand, subject: Subject, folder: &std::path::Path) -> Result<Command, Failure> {
    let openbao = stand.openbao()?;
    let mut command;
    match subject {
        Subject::Pillion => {
            command = Command::new(stand.pillion());
            command.args(["secrets", "sync", "--interval", "1s", "--server", &openbao.url()]);
            command.arg("--token-file").arg(openbao.token_file());
            command.arg("--secret").arg(format!("secret/{NAME}#password=password"));
            command.arg("--to").arg(folder);
        }
        Subject::BaoAgent => {
            let values = [
                ("OPENBAO", openbao.url()),
                ("TOKEN_FILE", openbao.token_file().display().to_string()),
                ("NAME", NAME.to_owned()),
                ("TO", folder.display().to_string()),
            ];
            let text = include_str!("../../../bench/bao-agent.hcl");
            let config = stand.write_config("bao-agent.hcl", text, &values, 0)?;
            command = Command::new(setup::openbao()?);
            command
                .args(["agent", "-log-level=error"])
                .arg(format!("-config={}", config.display()));
        }
        other => return Err(other.cannot("deliver secrets")),
    }
    Ok(command)
}
