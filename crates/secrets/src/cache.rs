//! The sealed cache: what was fetched last, for a start while the server is away.
//!
//! One file, encrypted and authenticated with AES-256-GCM. It begins with eight bytes of name and one
//! of version, which are authenticated too, and so is the server's address; then follow a nonce that is
//! random for each write, and what is sealed. `docs/internals/sealed-cache.md` says what it protects and what not.

mod bytes;
mod key;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use pillion_model::secrets::{Cache, Server};
use pillion_runtime::board::Secret;
use zeroize::Zeroizing;

use crate::fetched::Fetched;
use crate::template::Request;

/// Name of the format and its version.
const HEADER: &[u8; 9] = b"pillion\0\x02";
const NONCE: usize = 12;
const TAG: usize = 16;
/// The most bytes of the file.
pub const MAX_FILE: usize = 64 << 20;

/// What the cache holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Answers of the server by what was asked for.
    pub answers: BTreeMap<Request, Fetched>,
    /// The login, so that leases can be renewed after a restart: they belong to its token.
    pub session: Option<CachedSession>,
    /// When it was saved.
    pub at: SystemTime,
}

/// A login that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedSession {
    /// The token.
    pub token: Secret,
    /// The server's public name of the token.
    pub accessor: String,
    /// When it ends; `None`: never.
    pub expires: Option<SystemTime>,
    /// Whether its life can be extended.
    pub renewable: bool,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The key's file does not do.
    #[error("key of the sealed cache, {}: {reason}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} the sealed cache {}", .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is of something else, or of a newer version of this.
    #[error("{} is not a sealed cache of this version; remove it", .0.display())]
    Foreign(PathBuf),
    /// The key or the server is another, or the file was changed.
    #[error(
        "the sealed cache {} does not open: its key or its server is another one, or it was changed; \
         give the right key or remove the file",
        .0.display()
    )]
    Sealed(PathBuf),
    /// It is older than it may be.
    #[error("the sealed cache {} is {age:?} old, more than max_age, {max_age:?}", .path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its age.
        age: Duration,
        /// The most it may have.
        max_age: Duration,
    },
    /// There is more to keep than the file may hold.
    #[error(
        "the sealed cache would have more than {MAX_FILE} bytes; have fewer or smaller secrets"
    )]
    TooLarge,
}

/// A sealed cache and its key.
#[derive(Debug)]
pub struct SealedCache {
    path: PathBuf,
    max_age: Duration,
    key: RandomizedNonceKey,
    /// What is authenticated and not sealed: a token is never shown to a server that did not make it.
    known: Vec<u8>,
}

impl SealedCache {
    /// Reads the key of a cache for this server. The cache itself need not be there.
    ///
    /// # Errors
    /// The key's file is not there, is not 32 bytes or 64 hexadecimal digits, or is open to others.
    pub fn new(settings: &Cache, server: &Server) -> Result<Self, CacheError> {
        let unfit = |reason| CacheError::Key { path: settings.key.clone(), reason };
        let key = key::read(&settings.key).map_err(unfit)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*key)
            .map_err(|_| unfit("it is not a key of AES-256".to_owned()))?;
        let namespace = server.namespace.as_deref().unwrap_or_default();
        let parts = [&HEADER[..], server.url.as_bytes(), b"\0", namespace.as_bytes()];
        let (path, max_age, known) = (settings.path.clone(), settings.max_age, parts.concat());
        Ok(Self { path, max_age, key, known })
    }

    /// What was saved last; `None` where nothing was. After an error, start as if nothing was.
    ///
    /// # Errors
    /// The file cannot be read, does not open with this key, or is too old.
    pub fn load(&self, now: SystemTime) -> Result<Option<Contents>, CacheError> {
        let Some(mut file) = self.read()? else { return Ok(None) };
        let foreign = || CacheError::Foreign(self.path.clone());
        let rest = file.strip_prefix(HEADER).ok_or_else(foreign)?;
        let nonce = rest.get(..NONCE).ok_or_else(foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| foreign())?;
        let sealed = file.get_mut(HEADER.len() + NONCE..).ok_or_else(foreign)?;
        let opened = self.key.open_in_place(nonce, Aad::from(&self.known), sealed);
        let opened = opened.map_err(|_| CacheError::Sealed(self.path.clone()))?;
        let contents = bytes::read(opened).ok_or_else(foreign)?;
        // A clock that was set back makes it new, not older than it may be.
        let age = now.duration_since(contents.at).unwrap_or(Duration::ZERO);
        match age > self.max_age {
            true => Err(CacheError::TooOld { path: self.path.clone(), age, max_age: self.max_age }),
            false => Ok(Some(contents)),
        }
    }

    /// Saves in place of what was saved before: all of it, or nothing.
    ///
    /// # Errors
    /// The file cannot be written, or would be too large.
    pub fn save(&self, contents: &Contents) -> Result<(), CacheError> {
        let mut sealed = bytes::written(contents);
        if sealed.len() > MAX_FILE - HEADER.len() - NONCE - TAG {
            return Err(CacheError::TooLarge);
        }
        // Sealed in place: the plain bytes are written over.
        let nonce = self.key.seal_in_place_append_tag(Aad::from(&self.known), &mut *sealed);
        let nonce = nonce.map_err(|_| self.failed("seal", io::Error::other("it is too long")))?;
        self.replace(nonce.as_ref(), &sealed).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> CacheError {
        CacheError::File { doing, path: self.path.clone(), source }
    }

    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, CacheError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| self.failed("read", source))?,
        };
        let mut bytes = Zeroizing::new(Vec::new());
        let read = file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| self.failed("read", source))?;
        match bytes.len() > MAX_FILE {
            true => Err(CacheError::Foreign(self.path.clone())),
            false => Ok(Some(bytes)),
        }
    }

    fn replace(&self, nonce: &[u8], sealed: &[u8]) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(HEADER)?;
        file.write_all(nonce)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}
