//! Reading the configuration again: a good one is put in force as a whole, a bad one changes
//! nothing.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use pillion_model::Settings;
use pillion_model::config::{self, Diagnostic, Loaded, Overrides};
use pillion_runtime::metrics::{Counter, Gauge, Registry};
use pillion_runtime::say;
use pillion_runtime::supervise::Captured;
use tokio::sync::watch;

use super::{Sidecar, Source, roles};
use crate::failure::named;
use crate::heap;
use crate::metrics::{APPLIED_AT, RELOAD_SUCCESS, RELOADS};

/// Larger files are left to the reader of the configuration, which refuses them.
const LARGEST: u64 = 1 << 20;

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The file says what is in force already, or there is no file.
    Unchanged,
    /// It is in force, but for these keys, which wait for the next start.
    Applied {
        /// Keys whose change a running process cannot follow.
        restart: Vec<&'static str>,
    },
    /// It has these problems; what was in force stays so.
    Refused {
        /// Each problem whole, for people.
        problems: Vec<String>,
    },
}

impl Reloaded {
    /// The word in metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Applied { .. } => "applied",
            Self::Refused { .. } => "refused",
        }
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Applied { restart } if restart.is_empty() => f.write_str("applied"),
            Self::Applied { restart } => {
                write!(f, "applied, but these wait for a restart: {}", restart.join(", "))
            }
            Self::Refused { problems } => {
                write!(f, "refused, what was in force stays so:\n\n{}", problems.join("\n\n"))
            }
        }
    }
}

/// What decides which outputs of the app are read.
const APP_SOURCE: &str = "logs.sources.NAME.app";

/// The configuration in force, for the admin interface.
#[derive(Clone, Debug)]
pub(crate) struct ConfigView {
    /// What is in force, and waits for a restart where `restart` says so.
    pub(crate) loaded: Arc<Loaded>,
    /// Keys that wait for a restart.
    pub(crate) restart: Vec<&'static str>,
    /// The file; `None` where there is none.
    pub(crate) file: Option<String>,
    /// When it was put in force.
    pub(crate) applied_at: SystemTime,
    /// What came of the last reload, and when; `None` before the first.
    pub(crate) last: Option<(Reloaded, SystemTime)>,
}

/// Reads the configuration again whenever it is asked to.
pub(super) struct Reloads {
    source: Source,
    /// What the process was started with.
    settings: Settings,
    /// The outputs of the app that are read, which is decided when it is started.
    captured: Captured,
    view: watch::Sender<ConfigView>,
    counters: [(&'static str, Counter); 3],
    success: Gauge,
    applied_at: Gauge,
}

impl Reloads {
    /// The configuration at the start, and where it is read again.
    pub(super) fn new(loaded: Loaded, source: Source, registry: &Registry) -> Self {
        let settings = loaded.settings.clone();
        let captured = roles::captured(&loaded.roles);
        let now = SystemTime::now();
        let view = watch::Sender::new(ConfigView {
            loaded: Arc::new(loaded),
            restart: Vec::new(),
            file: source.file.as_deref().map(named),
            applied_at: now,
            last: None,
        });
        let counters = ["applied", "refused", "unchanged"]
            .map(|result| (result, registry.counter(&RELOADS, &[result])));
        let success = registry.gauge(&RELOAD_SUCCESS, &[]);
        success.set(1);
        let applied_at = registry.gauge(&APPLIED_AT, &[]);
        applied_at.set(unix_seconds(now));
        Self { source, settings, captured, view, counters, success, applied_at }
    }

    /// What the process was started with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether there is an app that is started by us.
    pub(super) fn supervises(&self) -> bool {
        self.source.overrides.has_app
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.source.file.as_deref()
    }

    /// What is in force now.
    pub(super) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.view.borrow().loaded)
    }

    /// What is in force, now and whenever it changes.
    pub(super) fn view(&self) -> watch::Receiver<ConfigView> {
        self.view.subscribe()
    }

    /// Reads the file for the second time, as it may have changed since the first, before anybody
    /// watched it. Most often it has not, and nothing is said.
    /// Returns whether something else is in force now.
    pub(super) fn catch_up(&mut self, sidecar: &Sidecar) -> bool {
        let reloaded = self.take(sidecar);
        let applied = matches!(reloaded, Reloaded::Applied { .. });
        if reloaded != Reloaded::Unchanged {
            self.record(reloaded);
        }
        applied
    }

    /// Reads the file and puts it in force, or says why not.
    pub(super) fn reload(&mut self, sidecar: &Sidecar) -> Reloaded {
        let reloaded = self.take(sidecar);
        self.record(reloaded.clone());
        reloaded
    }

    fn take(&self, sidecar: &Sidecar) -> Reloaded {
        let reloaded = self.put_in_force(sidecar);
        heap::release();
        reloaded
    }

    fn put_in_force(&self, sidecar: &Sidecar) -> Reloaded {
        let Some(file) = &self.source.file else { return Reloaded::Unchanged };
        let loaded = match read(file, &self.source.overrides) {
            Ok(loaded) => loaded,
            Err(problems) => return Reloaded::Refused { problems },
        };
        let before = self.loaded();
        if loaded.effective() == before.effective() {
            return Reloaded::Unchanged;
        }
        // First what may fail, so that a change is taken as a whole or not at all.
        let log = &loaded.snapshot.access_log;
        if *log != before.snapshot.access_log
            && let Err(error) = sidecar.access_log.reconfigure(log)
        {
            return Reloaded::Refused { problems: vec![unopened(file, &error)] };
        }
        sidecar.proxy.apply(Arc::new(loaded.snapshot.clone()));
        let mut restart = config::restart_needed(&self.settings, &loaded.settings);
        if roles::captured(&loaded.roles) != self.captured {
            restart.push(APP_SOURCE);
        }
        self.view.send_modify(|view| {
            view.applied_at = SystemTime::now();
            view.restart.clone_from(&restart);
            view.loaded = Arc::new(loaded);
        });
        Reloaded::Applied { restart }
    }

    fn record(&self, reloaded: Reloaded) {
        if let Some((_, counter)) = self.counters.iter().find(|(l, _)| *l == reloaded.label()) {
            counter.inc();
        }
        self.success.set(i64::from(!matches!(reloaded, Reloaded::Refused { .. })));
        self.applied_at.set(unix_seconds(self.view.borrow().applied_at));
        self.tell(&reloaded);
        self.view.send_modify(|view| view.last = Some((reloaded, SystemTime::now())));
    }

    fn tell(&self, reloaded: &Reloaded) {
        let file = self.source.file.as_deref().map(named).unwrap_or_default();
        match reloaded {
            Reloaded::Unchanged => say!(Info, "the configuration is unchanged", file = file),
            Reloaded::Applied { restart } if restart.is_empty() => {
                say!(Info, "the configuration is applied", file = file);
            }
            Reloaded::Applied { restart } => {
                let keys = restart.join(", ");
                say!(
                    Warn,
                    "the configuration is applied, but some keys wait for a restart",
                    file = file,
                    keys = keys
                );
            }
            Reloaded::Refused { problems } => {
                say!(
                    Warn,
                    "the configuration is refused, what was in force stays so",
                    file = file,
                    problems = problems.len()
                );
                for problem in problems.iter().map(|problem| one_line(problem)) {
                    say!(Warn, "{problem}");
                }
            }
        }
    }
}

/// Reads the file. An empty one is refused: it is what a write that was cut off leaves.
fn read(file: &Path, overrides: &Overrides) -> Result<Loaded, Vec<String>> {
    let name = named(file);
    let read = match read_text(file) {
        Ok(text) if text.trim().is_empty() => {
            return Err(vec![format!(
                "{name}: the file is empty: write {{}} for a configuration of defaults alone"
            )]);
        }
        Ok(text) => config::parse(&name, &text, overrides),
        // The reader of the configuration knows how to say what is wrong with such a file.
        Err(_) => config::load(file, overrides),
    };
    read.map_err(|problems| problems.iter().map(Diagnostic::to_string).collect())
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more, so that a file that is too large is seen to be.
    File::open(file)?.take(LARGEST + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A problem without the lines of the file that it shows.
fn one_line(problem: &str) -> String {
    let mut lines = problem.lines();
    let what = lines.next().unwrap_or_default();
    let hint = lines.find_map(|line| line.trim_start().strip_prefix("= "));
    hint.map_or_else(|| what.to_owned(), |hint| format!("{what} ({hint})"))
}

fn unopened(file: &Path, error: &io::Error) -> String {
    format!("{}: access_log.output: cannot be opened: {error}", named(file))
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pillion.yaml");
        std::fs::write(&file, text).unwrap();
        read(&file, &Overrides::default()).unwrap_err().concat()
    }

    #[test]
    fn what_a_write_that_was_cut_off_leaves_is_refused() {
        for empty in ["", "\n", " \n\t\n"] {
            assert!(refusal(empty.as_bytes()).contains("is empty"), "{empty:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_refused_with_its_place() {
        let problem = refusal(b"app: {}\n\xff");
        assert!(problem.contains(":2:1") && problem.contains("UTF-8"), "{problem}");
    }

    #[test]
    fn a_problem_in_one_line_keeps_what_and_hint() {
        let problem = refusal(b"inbond: {}\n");
        let line = one_line(&problem);
        assert!(!line.contains('\n') && !line.contains('|'), "{line}");
        assert!(line.contains(":1:1: inbond: unknown key (") && line.contains("inbound"), "{line}");
    }
}
