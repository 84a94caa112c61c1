//! The key of the sealed cache, from its file.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

const LENGTH: usize = 32;
/// Enough for 64 digits and a line's end, and one more to see that there is too much.
const MOST: usize = 2 * LENGTH + 3;

/// The 32 bytes of the key.
///
/// # Errors
/// Says what is wrong with the file, and never what is in it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<[u8; LENGTH]>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("others may use it (mode {mode:04o}); run chmod 0400"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST));
    file.take(MOST as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    key(&bytes).ok_or_else(|| {
        "a key is 32 bytes or 64 hexadecimal digits; make one with openssl rand -hex 32".to_owned()
    })
}

fn key(bytes: &[u8]) -> Option<Zeroizing<[u8; LENGTH]>> {
    if let Ok(key) = <[u8; LENGTH]>::try_from(bytes) {
        return Some(Zeroizing::new(key));
    }
    let digits = bytes.trim_ascii_end();
    if digits.len() != 2 * LENGTH {
        return None;
    }
    let mut key = Zeroizing::new([0; LENGTH]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(key)
}
