//! Pages of code and constants that are not needed any more, given back when there is rest.
//!
//! The kernel maps pages of the program's file, and of its libraries, when they are first touched,
//! with up to 15 neighbours each, and leaves them. After the start, most of what is mapped is never
//! looked at again. What is given back here stays in the page cache, which all instances on a machine
//! share; what is needed again is mapped again, a microsecond for 64 KiB, without reading the disk.
//! Numbers: decision 0005.
#![expect(unsafe_code, reason = "madvise can also take away pages that exist nowhere else")]

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::ptr::{NonNull, without_provenance_mut};
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::say;

/// So long after the last change, code is given back: soon, so that what begins then does not come on
/// top of what the start left behind, and again when there is rest, for a start's last steps come
/// after it is ready.
const RESTS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// Gives back what is mapped of program and libraries: soon, and whenever something has changed and
/// there is rest again. For changes that come with much work and are rare; never for each exchange,
/// which would pay for mapping again. Ends when nobody is left who could change something.
pub async fn release_after<T>(mut changes: watch::Receiver<T>) {
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        for rest in RESTS {
            while let Ok(Ok(())) = timeout(rest, changes.changed()).await {}
            if let Err(error) = release() {
                say!(Debug, "code that is not needed any more stays in memory", error = error);
            }
        }
    }
}

fn release() -> io::Result<()> {
    let mappings = mappings(BufReader::new(File::open("/proc/self/smaps")?))?;
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.is_as_in_file() && is_of_program(&mappings, index) {
            discard(&mapping.range)?;
        }
    }
    Ok(())
}

/// Takes pages out of the page table. Whoever touches one next gets it from the page cache.
fn discard(range: &Range<usize>) -> io::Result<()> {
    let Some(start) = NonNull::new(without_provenance_mut(range.start)) else { return Ok(()) };
    // SAFETY: every page of the range is as in its file, and cannot be written to, so that the next
    // touch finds the same bytes. It still is the mapping that was looked at: program and libraries
    // stay where they are, since nothing here unloads a library.
    Ok(unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) }?)
}

/// A mapping of this process (proc_pid_smaps(5)).
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapping {
    range: Range<usize>,
    /// Such as `r-xp`.
    permissions: String,
    /// Device and inode; `None` for memory without a file.
    file: Option<(String, String)>,
    /// KiB that differ from the file: relocated addresses, breakpoints of a debugger.
    own_kib: u64,
}

impl Mapping {
    fn is_as_in_file(&self) -> bool {
        self.file.is_some() && !self.permissions.contains('w') && self.own_kib == 0
    }

    fn is_code(&self) -> bool {
        self.file.is_some() && self.permissions.contains('x')
    }

    fn continues(&self, before: &Self) -> bool {
        before.range.end == self.range.start && before.file == self.file
    }
}

/// Whether this is code, or lies at code of the same file as constants do. Other mappings of files
/// come and go, as those that a backtrace looks into.
fn is_of_program(mappings: &[Mapping], index: usize) -> bool {
    let Some(mapping) = mappings.get(index) else { return false };
    let before = index.checked_sub(1).and_then(|index| mappings.get(index));
    let after = mappings.get(index + 1);
    mapping.is_code()
        || before.is_some_and(|before| before.is_code() && mapping.continues(before))
        || after.is_some_and(|after| after.is_code() && after.continues(mapping))
}

/// Reads `/proc/self/smaps`: for each mapping a line with its place, then lines `Key:  number kB`.
fn mappings(smaps: impl BufRead) -> io::Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let line = line?;
        if let Some(mapping) = place(&line) {
            mappings.push(mapping);
        } else if let (Some(kib), Some(mapping)) = (own_kib(&line), mappings.last_mut()) {
            mapping.own_kib += kib;
        }
    }
    Ok(mappings)
}

/// The line `start-end permissions offset device inode path`.
fn place(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    let range = address(start)?..address(end)?;
    let permissions = words.next()?.to_owned();
    let (device, inode) = (words.nth(1)?, words.next()?);
    let file = (inode != "0").then(|| (device.to_owned(), inode.to_owned()));
    Some(Mapping { range, permissions, file, own_kib: 0 })
}

/// The number of a line about what differs from the file.
fn own_kib(line: &str) -> Option<u64> {
    let number = line.strip_prefix("Anonymous:").or_else(|| line.strip_prefix("Swap:"))?;
    number.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
560000000000-560000001000 r--p 00000000 fe:00 7  /opt/a program
Rss:                   4 kB
Anonymous:             0 kB
AnonHugePages:         0 kB
Swap:                  0 kB
SwapPss:               8 kB
VmFlags: rd mr mw me sd
560000001000-560000003000 r-xp 00001000 fe:00 7  /opt/a program
Anonymous:             0 kB
Swap:                  0 kB
560000003000-560000004000 r--p 00003000 fe:00 7  /opt/a program
Anonymous:             4 kB
Swap:                  0 kB
560000004000-560000005000 rw-p 00004000 fe:00 7  /opt/a program
Anonymous:             0 kB
560000005000-560000006000 r--p 00000000 fe:00 7  /opt/a program
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 8  /lib/with-a-breakpoint.so
Anonymous:             0 kB
Swap:                  4 kB
7f0000001000-7f0000002000 r--p 00001000 fe:00 8  /lib/with-a-breakpoint.so
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 fe:00 9  /usr/share/some-file
Anonymous:             0 kB
7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0  [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_the_file_of_program_or_library_is_given_back() {
        let mappings = mappings(SMAPS.as_bytes()).unwrap();
        let given: Vec<_> = (0..mappings.len())
            .filter(|index| mappings[*index].is_as_in_file() && is_of_program(&mappings, *index))
            .map(|index| format!("{:x}", mappings[index].range.start))
            .collect();
        assert_eq!(given, ["560000000000", "560000001000", "7f0000001000"], "{mappings:#?}");
    }

    #[test]
    fn every_mapping_of_this_process_is_understood() {
        let smaps = std::fs::read("/proc/self/smaps").unwrap();
        let read = mappings(smaps.as_slice()).unwrap();
        let sizes = smaps.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Size:"));
        assert_eq!(read.len(), sizes.count());
        assert!(read.iter().any(Mapping::is_code), "{read:#?}");
    }

    #[test]
    fn code_and_constants_are_the_same_afterwards() {
        static WORDS: [&str; 3] = ["one", "two", "three"];
        release().unwrap();
        assert_eq!(WORDS.concat(), "onetwothree");
    }
}
