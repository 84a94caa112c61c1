//! A JSON Web Token, read again for each login: whoever makes it replaces it in time. The token of a
//! pod's service account is one too: the kubelet replaces it, and the server asks Kubernetes
//! (`TokenReview`) whether it is good.

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
