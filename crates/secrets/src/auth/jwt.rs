//! A JSON Web Token, read again for each login: whoever makes it replaces it in time.

use std::path::Path;

use super::{credential, text};
use crate::bao::{Bao, Error, Grant};

pub(super) async fn log_in(
    bao: &Bao,
    mount: &str,
    role: &str,
    path: &Path,
) -> Result<Grant, Error> {
    let token = credential(path)?;
    bao.log_in(&format!("auth/{mount}/login"), &[("role", role), ("jwt", text(&token))]).await
}
