//! Files that are delivered, signals, and where the local interface listens.

use std::fmt;
use std::net::SocketAddr;

use super::{Fault, ListenAddress, Text, was_off};
use crate::settings::Address;

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 512;
/// The largest template in the configuration.
const LONGEST_PASSAGE: usize = 64 << 10;
/// Read and execute for others.
const FOR_OTHERS: u32 = 0o007;

/// The name of a file, relative: folders, and never out of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for FileName {
    const KIND: &'static str = "file name";
    const EXAMPLE: &'static str = "tls/server.pem";
    const PATTERN: &'static str = "^[^/].*$";

    fn read(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > LONGEST_NAME {
            return Err(Fault::new(format!("a file name has 1 to {LONGEST_NAME} bytes")));
        }
        let bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if text.split('/').any(bad) {
            return Err(Fault::new(format!("{text:?} is not a name within the folder"))
                .hint("write it relative, without . and .."));
        }
        if text.starts_with('.') || text == "current" || text.starts_with("current/") {
            return Err(Fault::new(format!("{text:?} is a name that Pillion itself uses"))
                .hint("names that begin with a dot, and current, are taken"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Permission bits, as four octal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o400)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Text for FileMode {
    const KIND: &'static str = "file mode";
    const EXAMPLE: &'static str = "0440";
    const PATTERN: &'static str = "^0?[0-7]{3}$";

    fn read(text: &str) -> Result<Self, Fault> {
        let digits = (3..=4).contains(&text.len());
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| digits && *bits <= 0o777);
        let Some(bits) = bits else {
            return Err(Fault::new(format!("{text:?} is not a file mode"))
                .hint("write three octal digits after a 0, such as 0440"));
        };
        if bits & FOR_OTHERS != 0 {
            return Err(Fault::new(format!("{text} lets everybody at the file"))
                .hint("its last digit is 0; give the app's group access, with group and 0440"));
        }
        if bits & 0o400 == 0 {
            return Err(Fault::new(format!("{text} lets nobody read the file")));
        }
        Ok(Self(bits))
    }
}

/// Text of any number of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage(String);

impl Passage {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Passage {
    const KIND: &'static str = "text of any lines";
    const EXAMPLE: &'static str = "password={{ secrets.database.password }}";
    const PATTERN: &'static str = "^[\\s\\S]*$";
    const LINES: bool = true;

    fn read(text: &str) -> Result<Self, Fault> {
        match text.len() > LONGEST_PASSAGE {
            true => Err(Fault::new(format!("a text has at most {LONGEST_PASSAGE} bytes"))
                .hint("put it into a file")),
            false => Ok(Self(text.to_owned())),
        }
    }
}

/// A signal, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalName {
    name: &'static str,
    /// Its number on Linux.
    pub number: i32,
}

/// Signals that mean something to an app that is told to look again.
const SIGNALS: [(&str, i32); 6] =
    [("HUP", 1), ("INT", 2), ("USR1", 10), ("USR2", 12), ("TERM", 15), ("WINCH", 28)];

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Text for SignalName {
    const KIND: &'static str = "signal";
    const EXAMPLE: &'static str = "HUP";
    const PATTERN: &'static str = "^(SIG)?[A-Z0-9]+$";

    fn read(text: &str) -> Result<Self, Fault> {
        let bare = text.strip_prefix("SIG").unwrap_or(text);
        let known = SIGNALS.iter().find(|(name, _)| *name == bare);
        known.map(|(name, number)| Self { name, number: *number }).ok_or_else(|| {
            let names: Vec<_> = SIGNALS.iter().map(|(name, _)| *name).collect();
            Fault::new(format!("{text:?} is not a signal that an app is told by"))
                .hint(format!("write one of {}", names.join(", ")))
        })
    }
}

/// Where the local interface listens: nobody else's machine reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAddress(Option<Address>);

impl ApiAddress {
    /// The address; `None` when it is off.
    pub fn get(&self) -> Option<&Address> {
        self.0.as_ref()
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl Text for ApiAddress {
    const KIND: &'static str = "local address";
    const EXAMPLE: &'static str = "127.0.0.1:8200";
    const PATTERN: &'static str = r"^(off|unix:/.+|.+:[0-9]{1,5})$";

    fn read(text: &str) -> Result<Self, Fault> {
        was_off(text, Self::KIND)?;
        match ListenAddress::read(text)? {
            ListenAddress::Off => Ok(Self(None)),
            ListenAddress::At(Address::Tcp(address)) if !local(address) => {
                Err(Fault::new(format!("{text} is not a loopback address"))
                    .hint("it hands out secrets: write 127.0.0.1:PORT, [::1]:PORT or unix:/PATH"))
            }
            ListenAddress::At(address) => Ok(Self(Some(address))),
        }
    }
}

fn local(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}
