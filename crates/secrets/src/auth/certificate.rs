//! A TLS client certificate. Its files are read again for each login, so that a new one counts.

use crate::bao::{Bao, Error, Grant, Trouble};

pub(super) async fn log_in(bao: &Bao, mount: &str, role: Option<&str>) -> Result<Grant, Error> {
    let path = format!("auth/{mount}/login");
    bao.reconnect().map_err(|error| {
        Error::new(
            format!("log in to {} at {path}", bao.server().url),
            Trouble::Credential(error.to_string()),
        )
    })?;
    match role {
        Some(role) => bao.log_in(&path, &[("name", role)]).await,
        None => bao.log_in(&path, &[]).await,
    }
}
