//! Signals as events of the program, and what each of them asks for.
//!
//! | signal | from `kill` | from the terminal (the app got it too) |
//! | --- | --- | --- |
//! | SIGTERM | drain, then stop the app | – |
//! | SIGINT | drain; the app is sent it too | drain |
//! | SIGHUP | reload | drain: the terminal is gone |
//! | SIGQUIT | sent on to the app | nothing |
//! | SIGUSR1, SIGUSR2 | sent on to the app | – |
//!
//! A second signal that asks for a drain forces the end. Job control (SIGTSTP, SIGCONT, SIGWINCH …)
//! is left to the kernel, which treats the whole process group alike. SIGPIPE is ignored here and
//! has its default in the app.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::readable::Readable;

const HANDLED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What the sender set `si_code` to when it is the kernel, as for Ctrl-C.
const SENT_BY_KERNEL: i32 = 0x80;

/// One signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which one.
    pub signal: Signal,
    /// Whether the kernel sent it, to the whole process group, because of the terminal. The app has
    /// got it already.
    pub from_terminal: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Drain, then stop the app; when a drain is under way, force the end.
    Drain {
        /// What the app is sent at once, before the drain has ended.
        forward: Option<Signal>,
    },
    /// Read the configuration again, and open the log files anew.
    Reload,
    /// The app's own business: send it on.
    Forward(Signal),
    /// The app's own business, and the app has it already.
    Nothing,
}

impl Received {
    /// What this signal asks for, by the table of this module.
    #[must_use]
    pub fn intent(self) -> Intent {
        match (self.signal, self.from_terminal) {
            (Signal::SIGINT, false) => Intent::Drain { forward: Some(Signal::SIGINT) },
            (Signal::SIGTERM, _) | (Signal::SIGINT | Signal::SIGHUP, true) => {
                Intent::Drain { forward: None }
            }
            (Signal::SIGHUP, false) => Intent::Reload,
            (_, true) => Intent::Nothing,
            (signal, false) => Intent::Forward(signal),
        }
    }
}

/// The signals, blocked in this thread and in every thread that it starts from now on.
#[derive(Debug)]
pub struct Blocked {
    descriptor: SignalFd,
}

impl Blocked {
    /// Blocks the handled signals; from here on they wait to be read. To be called before any
    /// thread is started, and after the keeper is forked. What the parent had ignored stays
    /// ignored, as `nohup` wants it.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn block() -> io::Result<Self> {
        let mask: SigSet = HANDLED.into_iter().collect();
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { descriptor: SignalFd::with_flags(&mask, flags)? })
    }

    /// Makes them readable in a Tokio runtime with its I/O driver on.
    ///
    /// # Errors
    /// When the descriptor cannot be registered.
    pub fn listen(self) -> io::Result<Signals> {
        Ok(Signals { readable: Readable::of(&self.descriptor)?, descriptor: self.descriptor })
    }
}

/// The signals that arrive.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
    readable: Readable,
}

impl Signals {
    /// The next signal. Cancel-safe.
    ///
    /// # Errors
    /// When the descriptor cannot be read; it never recovers from that.
    pub async fn next(&mut self) -> io::Result<Received> {
        let read = || Ok(self.descriptor.read_signal()?);
        let info = self.readable.read(read).await?;
        Ok(Received {
            signal: Signal::try_from(info.ssi_signo.cast_signed())?,
            from_terminal: info.ssi_code == SENT_BY_KERNEL,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_asks_for_what_the_table_says() {
        let drain = Intent::Drain { forward: None };
        let table = [
            (Signal::SIGTERM, false, drain),
            (Signal::SIGTERM, true, drain),
            (Signal::SIGINT, true, drain),
            (Signal::SIGINT, false, Intent::Drain { forward: Some(Signal::SIGINT) }),
            (Signal::SIGHUP, false, Intent::Reload),
            (Signal::SIGHUP, true, drain),
            (Signal::SIGQUIT, true, Intent::Nothing),
            (Signal::SIGQUIT, false, Intent::Forward(Signal::SIGQUIT)),
            (Signal::SIGUSR1, false, Intent::Forward(Signal::SIGUSR1)),
            (Signal::SIGUSR2, false, Intent::Forward(Signal::SIGUSR2)),
        ];
        for (signal, from_terminal, intent) in table {
            assert_eq!(Received { signal, from_terminal }.intent(), intent, "{signal}");
        }
    }

    #[test]
    fn a_signal_is_read_with_its_sender() {
        // A thread of its own, so that the mask does not stay with the test harness.
        std::thread::spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let mut signals = Blocked::block().unwrap().listen().unwrap();
                let received = [Signal::SIGUSR1, Signal::SIGHUP].map(|signal| {
                    // Goes to this thread; another of the harness would not block it.
                    nix::sys::signal::raise(signal).unwrap();
                    Received { signal, from_terminal: false }
                });
                let mut got = vec![signals.next().await.unwrap(), signals.next().await.unwrap()];
                got.sort_by_key(|received| std::cmp::Reverse(received.signal));
                assert_eq!(got, received);
            });
        })
        .join()
        .unwrap();
    }
}
