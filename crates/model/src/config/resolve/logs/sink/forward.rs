//! A sink of the forward protocol.

use std::sync::Arc;

use super::{CONCURRENCY, TAG, TIMEOUT, compression, user};
use crate::config::diagnostic::Problems;
use crate::config::key::KeyPath;
use crate::config::raw::logs as raw;
use crate::config::resolve::{file, identity, number, without_effect};
use crate::logs::{ForwardLogin, ForwardOutput, ForwardTls};

pub(super) fn plain(
    raw: &raw::LogSinkSettings,
    address: &str,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> ForwardOutput {
    let of_tls = [
        ("ca", raw.ca.is_some()),
        ("certificate", raw.certificate.is_some()),
        ("key", raw.key.is_some()),
    ];
    without_effect(&of_tls, "TLS; write forward+tls://…", path, problems);
    output(raw, address, None, (path, problems))
}

pub(super) fn encrypted(
    raw: &raw::LogSinkSettings,
    address: &str,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> ForwardOutput {
    let tls = ForwardTls {
        ca: file(&raw.ca),
        identity: identity(&raw.certificate, &raw.key, path, problems),
    };
    output(raw, address, Some(tls), (path, problems))
}

fn output(
    raw: &raw::LogSinkSettings,
    address: &str,
    tls: Option<ForwardTls>,
    (path, problems): (&KeyPath, &mut Problems<'_>),
) -> ForwardOutput {
    ForwardOutput {
        address: Arc::from(address),
        tls,
        tag: Arc::from(raw.tag.as_ref().map_or(TAG, raw::Line::as_str)),
        login: login(raw, path, problems),
        compress: compression(raw),
        timeout: raw.timeout.map_or(TIMEOUT, raw::Period::get),
        concurrency: number(raw.concurrency.unwrap_or(CONCURRENCY)),
    }
}

/// The protocol has users only where both sides share a key.
fn login(
    raw: &raw::LogSinkSettings,
    path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<ForwardLogin> {
    let user = user(raw, path, problems);
    let Some(shared_key) = file(&raw.shared_key_file) else {
        without_effect(&[("user", user.is_some())], "shared_key_file", path, problems);
        return None;
    };
    Some(ForwardLogin { shared_key, user })
}
