//! The service account of a pod: its token is a JSON Web Token that the kubelet replaces, and the
//! server asks Kubernetes (`TokenReview`) whether it is good.

use std::path::Path;

use super::jwt;
use crate::bao::{Bao, Error, Grant};

pub(super) async fn log_in(
    bao: &Bao,
    mount: &str,
    role: &str,
    path: &Path,
) -> Result<Grant, Error> {
    jwt::log_in(bao, mount, role, path).await
}
