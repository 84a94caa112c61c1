//! Who we are to the server: each method has its own keys.

use super::text;
use crate::config::diagnostic::Problems;
use crate::config::key::KeyPath;
use crate::config::raw::secrets as raw;
use crate::config::resolve::{file, without_effect};
use crate::config::text::Fault;
use crate::secrets::Auth;

/// The token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// `None` where something is missing, and reported.
pub(super) fn auth(raw: &raw::Auth, path: &KeyPath, problems: &mut Problems<'_>) -> Option<Auth> {
    use raw::AuthMethod::{AppRole, Certificate, Jwt, Kubernetes, TokenFile};
    let method = raw.method;
    let mut only = |keys: &[(&str, bool)], methods: &[raw::AuthMethod], with: &str| {
        if !methods.contains(&method) {
            without_effect(keys, with, path, problems);
        }
    };
    only(
        &[("file", raw.file.is_some())],
        &[TokenFile, Jwt, Kubernetes],
        "token_file, jwt or kubernetes",
    );
    only(&[("wrapped", raw.wrapped.is_some())], &[TokenFile, AppRole], "token_file or approle");
    only(
        &[("role", raw.role.is_some())],
        &[Jwt, Kubernetes, Certificate],
        "jwt, kubernetes or certificate",
    );
    only(
        &[
            ("role_id_file", raw.role_id_file.is_some()),
            ("secret_id_file", raw.secret_id_file.is_some()),
            ("remove", raw.remove.is_some()),
        ],
        &[AppRole],
        "method: approle",
    );
    only(
        &[("certificate", raw.certificate.is_some()), ("key", raw.key.is_some())],
        &[Certificate],
        "method: certificate",
    );
    let mount = |default: &str| text(&raw.mount).unwrap_or_else(|| default.to_owned());
    let mut missing = |key: &str| {
        if !problems.within(path) {
            let fault = Fault::new(format!("this method needs {key}"));
            problems.at(path, fault.hint(format!("add {key}")));
        }
    };
    Some(match method {
        TokenFile => Auth::TokenFile {
            path: file(&raw.file).or_else(|| {
                missing("file");
                None
            })?,
            wrapped: raw.wrapped.unwrap_or(false),
        },
        AppRole => Auth::AppRole {
            mount: mount("approle"),
            role_id: file(&raw.role_id_file).or_else(|| {
                missing("role_id_file");
                None
            })?,
            secret_id: file(&raw.secret_id_file),
            wrapped: raw.wrapped.unwrap_or(false),
            remove: raw.remove.unwrap_or(false),
        },
        Jwt | Kubernetes => {
            let (Some(role), Some(path)) = (
                text(&raw.role),
                file(&raw.file).or((method == Kubernetes).then(|| SERVICE_ACCOUNT.into())),
            ) else {
                missing(if raw.role.is_none() { "role" } else { "file" });
                return None;
            };
            match method {
                Jwt => Auth::Jwt { mount: mount("jwt"), role, path },
                _ => Auth::Kubernetes { mount: mount("kubernetes"), role, path },
            }
        }
        Certificate => {
            let (Some(certificate), Some(key)) = (file(&raw.certificate), file(&raw.key)) else {
                missing(if raw.certificate.is_none() { "certificate" } else { "key" });
                return None;
            };
            Auth::Certificate { mount: mount("cert"), role: text(&raw.role), certificate, key }
        }
    })
}
