//! The stand on which subjects are measured: one core for the subject, another for everything that
//! it works with, a folder for files.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::logs::{Input, Pipeline, Receiver};
use super::openbao::OpenBao;
use super::proxy::origin::Origin;
use super::subject::Subject;
use super::template;
use crate::child::{self, Running};
use crate::failure::{Doing, Failure};
use crate::workspace;

/// Enough for the idle connections of one case, at both of their ends.
const OPEN_FILES: u64 = 16384;

/// Everything that the measurements share.
pub(super) struct Stand {
    origin: OnceCell<Origin>,
    openbao: OnceCell<OpenBao>,
    receiver: OnceCell<Receiver>,
    plain: OnceCell<Input>,
    cri_json: OnceCell<Input>,
    pillion: PathBuf,
    folder: PathBuf,
    subject_core: usize,
}

impl Stand {
    /// Builds Pillion, and pins this process to the core beside the subjects'.
    pub(super) fn new() -> Result<Self, Failure> {
        let pillion = workspace::pillion("release")?;
        let (Some(subject_core), Some(other_core)) =
            (child::cores()?.first().copied(), child::cores()?.get(1).copied())
        else {
            return Err(Failure::new(
                "the bench needs two cores: one for what is measured, one for the rest",
            ));
        };
        raise_open_files()?;
        let folder = workspace::target().join("bench/files");
        // Left over when the last run was killed.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).doing(format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
        child::pin(other_core)?;
        Ok(Self {
            origin: OnceCell::new(),
            openbao: OnceCell::new(),
            receiver: OnceCell::new(),
            plain: OnceCell::new(),
            cri_json: OnceCell::new(),
            pillion,
            folder,
            subject_core,
        })
    }

    /// The program that is measured, release build.
    pub(super) fn pillion(&self) -> &Path {
        &self.pillion
    }

    /// Where files of a run are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server behind proxies; started when it is first asked for.
    pub(super) fn origin(&self) -> Result<&Origin, Failure> {
        once(&self.origin, || Origin::start(&self.folder))
    }

    /// The server with secrets; started when it is first asked for.
    pub(super) fn openbao(&self) -> Result<&OpenBao, Failure> {
        once(&self.openbao, || OpenBao::start(&self.folder))
    }

    /// The HTTP server that logs go to; started when it is first asked for.
    pub(super) fn receiver(&self) -> Result<&Receiver, Failure> {
        once(&self.receiver, Receiver::start)
    }

    /// The file that is shipped through a pipeline; written when it is first asked for.
    pub(super) fn input(&self, pipeline: Pipeline, bytes: u64) -> Result<&Input, Failure> {
        let cell = match pipeline {
            Pipeline::Plain => &self.plain,
            Pipeline::CriJson => &self.cri_json,
        };
        once(cell, || Input::make(&self.folder, pipeline, bytes))
    }

    /// An empty folder of this name.
    pub(super) fn empty_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).doing(format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// Fills a template of `bench/`, and writes it to the folder.
    pub(super) fn write_config(
        &self,
        name: &str,
        text: &str,
        values: &[(&str, String)],
        times: usize,
    ) -> Result<PathBuf, Failure> {
        let text = template::fill(text, values, times).doing(format!("bench/{name}"))?;
        let file = self.folder.join(name);
        std::fs::write(&file, text).doing(format!("writing {}", file.display()))?;
        Ok(file)
    }

    /// Starts a subject on its core; what it says goes into a file.
    pub(super) fn start(
        &self,
        subject: Subject,
        command: &mut Command,
    ) -> Result<Running, Failure> {
        let log = self.log(subject);
        let log = std::fs::File::create(&log).doing(format!("making {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Running::start(command, Some(self.subject_core))
    }

    /// Adds what a subject said, on lines of its own, to why it has no number.
    pub(super) fn with_complaint(&self, subject: Subject, failure: &Failure) -> Failure {
        let said = std::fs::read_to_string(self.log(subject)).unwrap_or_default();
        let said: String = said.lines().map(|line| format!("\n    {line}")).collect();
        Failure::new(format!("{failure}{said}"))
    }

    fn log(&self, subject: Subject) -> PathBuf {
        self.folder.join(format!("{}.log", subject.name()))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Nothing can be done about it here, and the next run empties the folder.
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn once<T>(cell: &OnceCell<T>, start: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    if let Some(started) = cell.get() {
        return Ok(started);
    }
    let started = start()?;
    Ok(cell.get_or_init(|| started))
}

fn raise_open_files() -> Result<(), Failure> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).doing("reading the limit of open files")?;
    if soft >= OPEN_FILES {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES))
        .doing(format!("raising the limit of open files to {OPEN_FILES}"))
        .map_err(|failure| failure.fix(format!("ulimit -Hn {OPEN_FILES}, as root")))
}
