//! A value that nobody may see.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret value. It is overwritten when it is dropped, and never shown: not by `Debug`, and there
/// is no `Display`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The value itself. Keep what is made of it as short as possible.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, where it is one.
    #[must_use]
    pub fn reveal_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(value: Vec<u8>) -> Self {
        Self(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
