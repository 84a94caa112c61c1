//! Reading what the app writes to its outputs.
//!
//! The app never waits for us: its pipes are read as fast as it writes, and where the budget has no
//! room, lines are dropped and counted.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use pillion_model::logs::{AppOutput, DropPolicy, Terminal};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, sleep, sleep_until};

use super::intake::{Content, Feed, Intake};
use super::stream::TextFramer;
use super::terminal::Screen;
use super::windows::Windows;
use super::{App, Texts};
use crate::record::{Stream, Trace};
use crate::redact::{Redactor, Unfinished};

/// Reads of what lies in a pipe when nothing more is to be read: a pipe holds 1 MiB at most.
const LAST_READS: u32 = 16;

/// The outputs of the app cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct AppError {
    doing: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// One output of the app.
struct Output {
    pipe: Receiver,
    stream: Stream,
    full: DropPolicy,
    feed: Feed,
    framer: TextFramer,
    copy: Copy,
    windows: Windows,
    /// Of what was read before the line that has begun.
    trace: Option<Trace>,
    /// When there will be a look that is old enough.
    settled: TokioInstant,
}

/// Where it is shown.
struct Copy {
    mode: Terminal,
    screen: Option<Rc<Screen>>,
    redactor: Rc<RefCell<Redactor>>,
    unfinished: Unfinished,
}

/// What a read came to.
enum Read {
    Some,
    Nothing,
    Ended,
}

/// Starts to read the outputs that the source has and that are captured.
pub(super) fn start(
    output: AppOutput,
    app: App<'_>,
    intake: &Rc<Intake>,
    tasks: &mut JoinSet<()>,
) -> Result<(), AppError> {
    let App { outputs, exchanges, redactor, terminal } = app;
    let error = |doing| move |source| AppError { doing, source };
    let screen = match output.terminal {
        Terminal::Copy | Terminal::Redacted => {
            let screen = Screen::start(terminal);
            Some(Rc::new(screen.map_err(error("start the thread for the terminal"))?))
        }
        Terminal::Off => None,
    };
    let redactor = Rc::new(RefCell::new(redactor));
    let both = [
        (Stream::Stdout, &outputs.stdout, output.stdout),
        (Stream::Stderr, &outputs.stderr, output.stderr),
    ];
    for (stream, pipe, wanted) in both {
        let Some(pipe) = pipe.as_ref().filter(|_| wanted) else { continue };
        // A duplicate: the role may be started again.
        let pipe = pipe.try_clone().and_then(watched);
        let copy = Copy {
            mode: output.terminal,
            screen: screen.clone(),
            redactor: redactor.clone(),
            unfinished: Unfinished::default(),
        };
        let output = Output {
            pipe: pipe.map_err(error("read what the app writes"))?,
            stream,
            full: output.full,
            feed: Feed::new(intake, Some(stream)),
            framer: TextFramer::lines(intake.framing()),
            copy,
            windows: Windows::new(exchanges.clone()),
            trace: None,
            settled: TokioInstant::now() + Windows::settles_in(),
        };
        tasks.spawn_local(output.run());
    }
    Ok(())
}

/// Our end becomes non-blocking; the app's end is another, and stays as it is.
fn watched(pipe: OwnedFd) -> io::Result<Receiver> {
    Receiver::from_owned_fd(pipe)
}

impl Output {
    async fn run(mut self) {
        let intake = self.feed.intake().clone();
        loop {
            let settling = TokioInstant::now() < self.settled;
            tokio::select! {
                ready = self.pipe.readable() => if ready.is_err() { break },
                () = sleep(Windows::step()), if settling => {
                    self.empty();
                    continue;
                }
                // What held back its last letters shows them.
                () = sleep_until(self.settled), if !settling && self.copy.holds() => {
                    self.copy.release(self.stream);
                    continue;
                }
                () = intake.closing() => {
                    // What is there, whether or not the runtime has heard of it yet.
                    let read_now = |pipe: &Receiver, block: &mut [u8]| {
                        Ok(nix::unistd::read(pipe, block)?)
                    };
                    let mut left = LAST_READS;
                    while left > 0 && matches!(self.read(read_now), Read::Some) {
                        left -= 1;
                    }
                    break;
                }
            }
            match self.read(Receiver::try_read) {
                Read::Some => {
                    // An app that writes without end must not keep the others from their turn.
                    tokio::task::yield_now().await;
                }
                Read::Nothing => self.empty(),
                Read::Ended => break,
            }
        }
        self.finish();
    }

    fn empty(&mut self) {
        self.windows.empty(Instant::now());
    }

    fn read(&mut self, read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>) -> Read {
        let mut texts = Texts::default();
        let within = self.framer.is_within();
        let Self { pipe, framer, copy, stream, feed, .. } = self;
        let read = feed.intake().with_block(|block| {
            let read = read(pipe, block)?;
            let bytes = block.get(..read).unwrap_or_default();
            copy.show(*stream, bytes);
            framer.take(bytes, &mut texts);
            Ok::<_, io::Error>(read)
        });
        match read {
            Ok(0) => return Read::Ended,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Nothing,
            Err(_) => return Read::Ended,
        }
        let mut trace = self.windows.only();
        if within && trace != self.trace {
            // The first line was begun while another was served, or nobody knows.
            trace = None;
        }
        self.trace = trace;
        self.settled = TokioInstant::now() + Windows::settles_in();
        self.give(texts, trace);
        Read::Some
    }

    fn give(&self, texts: Texts, trace: Option<Trace>) {
        self.feed.give_or_drop(Content::Texts(texts), self.full, None, trace);
        if let Some(screen) = &self.copy.screen {
            self.feed.intake().note(|status| status.terminal_dropped = screen.dropped());
        }
    }

    fn finish(mut self) {
        let mut texts = Texts::default();
        self.framer.flush(&mut texts);
        self.copy.finish(self.stream);
        let trace = self.trace;
        self.give(texts, trace);
    }
}

impl Copy {
    fn show(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(screen) = &self.screen else { return };
        match self.mode {
            Terminal::Copy => screen.show(stream, bytes),
            Terminal::Redacted => {
                let mut out = Vec::with_capacity(bytes.len());
                self.redactor.borrow_mut().refresh();
                self.unfinished.push(&self.redactor.borrow(), bytes, &mut out);
                screen.show(stream, &out);
            }
            Terminal::Off => {}
        }
    }

    fn holds(&self) -> bool {
        self.unfinished.may_release()
    }

    fn release(&mut self, stream: Stream) {
        let mut out = Vec::new();
        self.unfinished.release(&mut out);
        if let Some(screen) = &self.screen {
            screen.show(stream, &out);
        }
    }

    fn finish(&mut self, stream: Stream) {
        let mut out = Vec::new();
        self.redactor.borrow_mut().refresh();
        self.unfinished.finish(&self.redactor.borrow(), &mut out);
        if let Some(screen) = &self.screen {
            screen.show(stream, &out);
        }
    }
}
