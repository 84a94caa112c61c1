//! Keeping what is in memory out of core dumps, and out of reach of other processes of the same
//! user.

use std::io;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// From now on a crash writes no memory to disk, and only root can attach a debugger or read
/// `/proc/PID/mem` (prctl(2), `PR_SET_DUMPABLE`). Programs that are started from now on write no
/// core dumps either; the supervised app is started by the keeper, and is not changed.
///
/// # Errors
/// The system refuses.
pub fn forbid() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_dumpable(false)?;
    Ok(())
}
