//! Who we are to the server: from files to a token.

mod approle;
mod certificate;
mod jwt;
mod wrapping;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use pillion_model::secrets::Auth;
use pillion_runtime::board::Secret;
use pillion_runtime::say;
use zeroize::Zeroizing;

use crate::bao::{Bao, Error, Grant, Trouble};
use wrapping::Origin;

/// The most bytes of a file with a credential.
const CREDENTIAL_LIMIT: u64 = 64 << 10;

/// Logs in, again and again, and keeps what cannot be had twice.
#[derive(Debug)]
pub(crate) struct Logins {
    bao: Bao,
    kept: Option<Kept>,
}

/// What a file held, and what that stood for: a wrapping token works once, and a file that is
/// removed after its use is gone, but one may have to log in more often.
#[derive(Debug)]
struct Kept {
    content: Secret,
    secret: Secret,
}

impl Logins {
    pub(crate) fn new(bao: Bao) -> Self {
        Self { bao, kept: None }
    }

    /// The file that makes a new login necessary when it changes.
    pub(crate) fn watched(&self) -> Option<&Path> {
        match &self.bao.server().auth {
            Auth::TokenFile { path, .. } => Some(path),
            // Read for each login, and not needed between two.
            Auth::AppRole { .. }
            | Auth::Jwt { .. }
            | Auth::Kubernetes { .. }
            | Auth::Certificate { .. } => None,
        }
    }

    /// Whether the tokens are made for us, so that we may end them.
    pub(crate) fn are_ours(&self) -> bool {
        self.watched().is_none()
    }

    /// A token; for a token file, the one in it.
    pub(crate) async fn log_in(&mut self) -> Result<Grant, Error> {
        let granted = self.grant().await;
        granted.map_err(|error| advised(error, &self.bao.server().auth))
    }

    async fn grant(&mut self) -> Result<Grant, Error> {
        let bao = self.bao.clone();
        match &bao.server().auth {
            Auth::TokenFile { path, wrapped } => {
                let token = self.secret(path, wrapped.then_some(Origin::Token)).await?;
                let doing =
                    || format!("use the token in {} at {}", path.display(), bao.server().url);
                let looked_up = bao.look_up_self(&token).await;
                looked_up.map_err(|error| Error::new(doing(), error.trouble))
            }
            Auth::AppRole { mount, role_id, secret_id, wrapped, remove } => {
                let Some(file) = secret_id else {
                    return approle::log_in(&bao, mount, role_id, None).await;
                };
                let secret = self.secret(file, wrapped.then_some(Origin::SecretId(mount))).await?;
                let grant = approle::log_in(&bao, mount, role_id, Some(&secret)).await?;
                if *remove {
                    remove_used(file);
                }
                Ok(grant)
            }
            Auth::Jwt { mount, role, path } | Auth::Kubernetes { mount, role, path } => {
                jwt::log_in(&bao, mount, role, path).await
            }
            Auth::Certificate { mount, role, .. } => {
                certificate::log_in(&bao, mount, role.as_deref()).await
            }
        }
    }

    /// What a file stands for. Once it was read, it need not be there any more.
    async fn secret(&mut self, path: &Path, wrapped: Option<Origin<'_>>) -> Result<Secret, Error> {
        let content = match (credential(path), &self.kept) {
            (Ok(content), Some(kept)) if kept.content == content => return Ok(kept.secret.clone()),
            (Ok(content), _) => content,
            (Err(_), Some(kept)) => return Ok(kept.secret.clone()),
            (Err(error), None) => return Err(error),
        };
        let secret = match wrapped {
            Some(origin) => wrapping::unwrap(&self.bao, &content, origin, path).await?,
            None => content.clone(),
        };
        self.kept = Some(Kept { content, secret: secret.clone() });
        Ok(secret)
    }
}

/// A refused login, with what to do about it.
fn advised(error: Error, auth: &Auth) -> Error {
    let (status, said) = match error.trouble {
        Trouble::Denied { said } => (403, said),
        Trouble::Refused { status, said } => (status, said),
        Trouble::TokenGone => (403, String::new()),
        _ => return error,
    };
    let advice = match auth {
        Auth::TokenFile { .. } => {
            "the server does not know this token, or its time is over: put a new one into the file"
        }
        Auth::AppRole { .. } => {
            "see whether the role id and the secret id in their files are good, and the mount is the \
             one of secrets.server.auth; after some failures, the server refuses good ones too for a time"
        }
        Auth::Jwt { .. } => {
            "see whether the role takes the token in the file (its audience, subject and time), and \
             role and mount are those of secrets.server.auth"
        }
        Auth::Kubernetes { .. } => {
            "see whether the role takes the token in the file (its service account, namespace and \
             audience), and role and mount are those of secrets.server.auth"
        }
        Auth::Certificate { .. } => {
            "see whether the role takes our certificate, and role and mount are those of \
             secrets.server.auth"
        }
    };
    Error::new(error.doing, Trouble::LoginRefused { status, said, advice })
}

/// Removes a file that was used. Where that fails, its content still works for whoever reads it.
fn remove_used(file: &Path) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            say!(
                Warn,
                "cannot remove the secret id that was used",
                file = file.display(),
                error = error
            );
        }
        Ok(()) | Err(_) => {}
    }
}

/// The first line of a file, without the space around it.
fn credential(path: &Path) -> Result<Secret, Error> {
    let fail = |what: String| {
        let doing = format!("read {}", path.display());
        Error::new(doing, Trouble::Credential(what))
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let read = file.take(CREDENTIAL_LIMIT + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| fail(error.to_string()))?;
    if read as u64 > CREDENTIAL_LIMIT {
        return Err(fail(format!("it has more than {CREDENTIAL_LIMIT} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| fail("it is not text".to_owned()))?;
    match text.trim() {
        "" => Err(fail("it is empty".to_owned())),
        text => Ok(Secret::from(text)),
    }
}

/// The text of a credential, which [`credential`] has made of text.
fn text(secret: &Secret) -> &str {
    secret.reveal_text().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_the_text_of_its_file_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            credential(&path).map_err(|error| error.to_string())
        };
        let limit = usize::try_from(CREDENTIAL_LIMIT).unwrap();
        assert_eq!(read(b" s.abc \n").unwrap(), Secret::from("s.abc"));
        assert!(read(&vec![b'a'; limit]).is_ok());
        let shown = path.display();
        for (content, what) in [
            (&b"\n \n"[..], "it is empty"),
            (b"\xff\xfe", "it is not text"),
            (&vec![b'a'; limit + 1], "it has more than 65536 bytes"),
        ] {
            assert_eq!(read(content).unwrap_err(), format!("cannot read {shown}: {what}"));
        }
        std::fs::remove_file(&path).unwrap();
        let missing = credential(&path).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
