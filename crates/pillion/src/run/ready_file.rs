//! The file that says that the sidecar serves, and where.

use std::fs;
use std::path::Path;

use pillion_model::settings::Address;
use serde_json::json;

use super::Addresses;
use crate::failure::{Failure, named};

/// Removes what an earlier process left: who waits for the file waits for this one.
pub(super) fn remove(path: &Path) {
    // Mostly there is none; one that cannot be removed cannot be replaced either, and that is said.
    drop(fs::remove_file(path));
}

/// Writes the file whole: a reader sees all of it or nothing.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(path: &Path, addresses: &Addresses) -> Result<(), Failure> {
    let text = |address: &Option<Address>| address.as_ref().map(ToString::to_string);
    let content = json!({
        "pid": std::process::id(),
        "inbound": text(&addresses.inbound),
        "outbound": text(&addresses.outbound),
        "admin": text(&addresses.admin),
    });
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    fs::write(&unfinished, format!("{content}\n"))
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| {
            Failure::doing(&format!("cannot write the ready file {}", named(path)), &error)
        })
}
