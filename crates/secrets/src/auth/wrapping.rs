//! Response wrapping: a token that stands for a secret, once. Whoever intercepts it can use it, but
//! not without being noticed: it does not work a second time, and one that was put in its place was
//! not made where ours ought to be.

use std::path::Path;

use pillion_runtime::board::Secret;

use crate::bao::{Bao, Error, Trouble, Unwrapped};

/// What to say of a wrapping token that does not work.
const SPENT: &str = "it is not valid: it was used before, or its time is over; if nobody of yours \
                     used it, the secret is known to others (see the server's audit log)";

/// What is wrapped, and so which request made it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// A token: made by a login or by the token store.
    Token,
    /// A secret id of the `AppRole` mount with this path.
    SecretId(&'a str),
}

/// What the wrapping token stands for that was read from `file`.
pub(super) async fn unwrap(
    bao: &Bao,
    wrapping: &Secret,
    origin: Origin<'_>,
    file: &Path,
) -> Result<Secret, Error> {
    let fail = |what: String| {
        let doing = format!("use the wrapping token in {}", file.display());
        Error::new(doing, Trouble::Credential(what))
    };
    let spent = |error: Error| match error.trouble {
        Trouble::Refused { status: 400, .. } | Trouble::Denied { .. } => fail(SPENT.to_owned()),
        _ => error,
    };
    let made = bao.look_up_wrapping(wrapping).await.map_err(spent)?.creation_path;
    let namespace = bao.server().namespace.as_deref().unwrap_or_default().trim_matches('/');
    let path = made.strip_prefix(namespace).unwrap_or(&made).trim_start_matches('/');
    if !origin.made(path) {
        return Err(fail(format!(
            "it was made by {made:?}, not by {}: somebody may have put it in the place of yours",
            origin.expected()
        )));
    }
    match (bao.unwrap(wrapping).await.map_err(spent)?, origin) {
        (Unwrapped::Token(token), Origin::Token) => Ok(token),
        (Unwrapped::Data(mut fetched), Origin::SecretId(_)) => fetched
            .data
            .remove("secret_id")
            .map(|datum| datum.secret().clone())
            .ok_or_else(|| fail("what it stands for is no secret id".to_owned())),
        (Unwrapped::Token(_) | Unwrapped::Data(_), Origin::Token | Origin::SecretId(_)) => {
            Err(fail("it stands for something else".to_owned()))
        }
    }
}

impl Origin<'_> {
    /// Whether a request to this path makes such a thing.
    fn made(self, path: &str) -> bool {
        let mut parts = path.split('/');
        match self {
            Self::Token => {
                path == "auth/token/create"
                    || path == "auth/token/create-orphan"
                    || path.starts_with("auth/token/create/")
                    || parts.next() == Some("auth") && parts.skip(1).any(|part| part == "login")
            }
            Self::SecretId(mount) => path
                .strip_prefix(&format!("auth/{mount}/role/"))
                .and_then(|rest| rest.strip_suffix("/secret-id"))
                .is_some_and(|role| !role.is_empty() && !role.contains('/')),
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Token => "auth/token/create or a login".to_owned(),
            Self::SecretId(mount) => format!("auth/{mount}/role/ROLE/secret-id"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_token_that_was_made_elsewhere_is_known_as_such() {
        for (origin, path, made) in [
            (Origin::Token, "auth/token/create", true),
            (Origin::Token, "auth/token/create-orphan", true),
            (Origin::Token, "auth/token/create/role", true),
            (Origin::Token, "auth/approle/login", true),
            (Origin::Token, "auth/userpass/login/jane", true),
            (Origin::Token, "sys/wrapping/wrap", false),
            (Origin::Token, "secret/data/login", false),
            (Origin::SecretId("approle"), "auth/approle/role/app/secret-id", true),
            (Origin::SecretId("team/approle"), "auth/team/approle/role/app/secret-id", true),
            (Origin::SecretId("approle"), "auth/other/role/app/secret-id", false),
            (Origin::SecretId("approle"), "auth/approle/role//secret-id", false),
            (Origin::SecretId("approle"), "auth/approle/role/a/b/secret-id", false),
            (Origin::SecretId("approle"), "sys/wrapping/wrap", false),
        ] {
            assert_eq!(origin.made(path), made, "{origin:?} {path}");
        }
    }
}
