//! `AppRole`: an id that may be known, and one that may not.

use std::path::Path;

use pillion_runtime::board::Secret;

use super::{credential, text};
use crate::bao::{Bao, Error, Grant};

pub(super) async fn log_in(
    bao: &Bao,
    mount: &str,
    role_id: &Path,
    secret_id: Option<&Secret>,
) -> Result<Grant, Error> {
    let path = format!("auth/{mount}/login");
    let role = credential(role_id)?;
    let role = ("role_id", text(&role));
    match secret_id {
        Some(secret) => bao.log_in(&path, &[role, ("secret_id", text(secret))]).await,
        None => bao.log_in(&path, &[role]).await,
    }
}
