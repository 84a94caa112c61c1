//! What Pillion and the keeper say to each other over their socket.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use super::Exit;

/// The longest command, with its arguments, that is passed on; above what the kernel would accept.
pub(super) const COMMAND_LIMIT: usize = 4 << 20;

/// The largest environment that is added to the app's.
pub(super) const ENVIRONMENT_LIMIT: usize = 1 << 20;

const HEAD: usize = 5;

/// From Pillion to the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Start the app.
    Start {
        /// What its environment gets beside ours.
        environment: Vec<(OsString, OsString)>,
        /// Program, then arguments.
        command: Vec<OsString>,
    },
    /// Send the app the signal with this number.
    Signal(i32),
    /// End the app and all that it left behind; SIGKILL after this time.
    Stop(Duration),
}

/// From the keeper to Pillion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The app runs, with this process id.
    Started(i32),
    /// The app was not started; the error number says why.
    Failed(i32),
    /// The app ended.
    Exited(Exit),
    /// After a stop: no process of the app is left.
    Gone,
}

/// The other side sent what this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Request {
    /// The bytes to send.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Start { environment, command } => {
                // Neither a variable nor a word can contain a NUL, so it separates them; a variable
                // is never empty, so an empty one ends them.
                let mut payload = Vec::new();
                for (name, value) in environment {
                    payload.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
                }
                payload.push(0);
                let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
                payload.extend(words.join(&0));
                let mut bytes = frame(b'S', u32::try_from(payload.len()).unwrap_or(u32::MAX));
                bytes.extend_from_slice(&payload);
                bytes
            }
            Self::Signal(number) => frame(b'K', number.cast_unsigned()),
            Self::Stop(timeout) => {
                frame(b'E', u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))
            }
        }
    }

    /// Takes the first request off `input`; `None` while it is not complete.
    pub(super) fn take(input: &mut Vec<u8>) -> Result<Option<Self>, Garbled> {
        let Some((kind, value)) = head(input) else { return Ok(None) };
        let payload = if kind == b'S' { value as usize } else { 0 };
        if payload > COMMAND_LIMIT + ENVIRONMENT_LIMIT + 1 {
            return Err(Garbled);
        }
        let Some(bytes) = input.get(HEAD..HEAD + payload) else { return Ok(None) };
        let request = match kind {
            b'S' => start(bytes),
            b'K' => Self::Signal(value.cast_signed()),
            b'E' => Self::Stop(Duration::from_millis(value.into())),
            _ => return Err(Garbled),
        };
        input.drain(..HEAD + payload);
        Ok(Some(request))
    }
}

fn start(payload: &[u8]) -> Request {
    let mut words = payload.split(|byte| *byte == 0);
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let variable = |word: &[u8]| {
        let at = word.iter().position(|byte| *byte == b'=').unwrap_or(word.len());
        (text(word.get(..at).unwrap_or_default()), text(word.get(at + 1..).unwrap_or_default()))
    };
    let environment = words.by_ref().take_while(|word| !word.is_empty()).map(variable).collect();
    Request::Start { environment, command: words.map(text).collect() }
}

impl Event {
    /// The bytes to send.
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Started(pid) => frame(b's', pid.cast_unsigned()),
            Self::Failed(errno) => frame(b'f', errno.cast_unsigned()),
            Self::Exited(Exit::Code(code)) => frame(b'c', code.cast_unsigned()),
            Self::Exited(Exit::Signal(number)) => frame(b'k', number.cast_unsigned()),
            Self::Exited(Exit::KeeperLost) => frame(b'l', 0),
            Self::Gone => frame(b'g', 0),
        }
    }

    /// Takes the first event off `input`; `None` while it is not complete.
    pub(super) fn take(input: &mut Vec<u8>) -> Result<Option<Self>, Garbled> {
        let Some((kind, value)) = head(input) else { return Ok(None) };
        let value = value.cast_signed();
        let event = match kind {
            b's' => Self::Started(value),
            b'f' => Self::Failed(value),
            b'c' => Self::Exited(Exit::Code(value)),
            b'k' => Self::Exited(Exit::Signal(value)),
            b'l' => Self::Exited(Exit::KeeperLost),
            b'g' => Self::Gone,
            _ => return Err(Garbled),
        };
        input.drain(..HEAD);
        Ok(Some(event))
    }
}

/// Checks what cannot be sent: a name that is none, a NUL, more than the kernel would accept.
pub(super) fn check_environment(environment: &[(OsString, OsString)]) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    let nul = |text: &OsStr| text.as_bytes().contains(&0);
    let no_name = |name: &OsStr| name.is_empty() || name.as_bytes().contains(&b'=') || nul(name);
    let length: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let problem = if let Some((name, _)) = environment.iter().find(|(name, _)| no_name(name)) {
        format!("{name:?} is not the name of an environment variable")
    } else if let Some((name, _)) = environment.iter().find(|(_, value)| nul(value)) {
        format!("the value of {} contains a NUL character", name.display())
    } else if length > ENVIRONMENT_LIMIT {
        format!("the environment is larger than {ENVIRONMENT_LIMIT} bytes")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, problem))
}

/// Checks what cannot be sent: an empty command, a NUL inside a word, a command beyond the limit.
pub(super) fn check_command(command: &[OsString]) -> std::io::Result<()> {
    use std::io::{Error, ErrorKind};
    let length: usize = command.iter().map(|word| word.len() + 1).sum();
    let problem = if command.first().is_none_or(|program| program.is_empty()) {
        "the command of the app is empty"
    } else if command.iter().any(|word| word.clone().into_vec().contains(&0)) {
        "the command of the app contains a NUL character"
    } else if length > COMMAND_LIMIT {
        "the command of the app is longer than 4 MiB"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, problem))
}

fn frame(kind: u8, value: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD);
    bytes.push(kind);
    bytes.extend_from_slice(&value.to_le_bytes());
    bytes
}

fn head(input: &[u8]) -> Option<(u8, u32)> {
    let (kind, rest) = input.split_first()?;
    Some((*kind, u32::from_le_bytes(*rest.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = OsString> {
        prop::collection::vec(1..=255u8, 1..12).prop_map(OsString::from_vec)
    }

    proptest! {
        #[test]
        fn requests_survive_the_wire_in_pieces(
            names in prop::collection::vec("[A-Z]{1,8}".prop_map(OsString::from), 0..4),
            values in prop::collection::vec(word(), 4),
            command in prop::collection::vec(word(), 1..6),
            number in any::<i32>(),
            millis in any::<u32>(),
            cut in 0usize..40,
        ) {
            let environment = names.into_iter().zip(values).collect();
            let sent = [
                Request::Start { environment, command },
                Request::Signal(number),
                Request::Stop(Duration::from_millis(millis.into())),
            ];
            let bytes: Vec<u8> = sent.iter().flat_map(Request::encode).collect();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let (mut input, mut got) = (first.to_vec(), Vec::new());
            while let Some(request) = Request::take(&mut input).unwrap() {
                got.push(request);
            }
            input.extend_from_slice(second);
            while let Some(request) = Request::take(&mut input).unwrap() {
                got.push(request);
            }
            prop_assert_eq!(got.as_slice(), sent.as_slice());
            prop_assert!(input.is_empty());
        }

        #[test]
        fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            Request::take(&mut bytes.clone()).ok();
            Event::take(&mut bytes).ok();
        }
    }

    #[test]
    fn events_survive_the_wire() {
        for event in [
            Event::Started(42),
            Event::Failed(2),
            Event::Exited(Exit::Code(255)),
            Event::Exited(Exit::Signal(64)),
            Event::Exited(Exit::KeeperLost),
            Event::Gone,
        ] {
            assert_eq!(Event::take(&mut event.encode()), Ok(Some(event)));
        }
    }

    #[test]
    fn impossible_environments_are_refused() {
        let check = |name: &str, value: &str| {
            check_environment(&[(OsString::from(name), OsString::from(value))])
        };
        assert!(check("PASSWORD", "a=b").is_ok());
        for (name, value, problem) in [
            ("", "v", "not the name"),
            ("A=B", "v", "not the name"),
            ("A", "v\0w", "the value of A contains a NUL"),
        ] {
            let message = check(name, value).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
        let room = ENVIRONMENT_LIMIT - 3;
        assert!(check("A", &"v".repeat(room)).is_ok());
        assert!(check("A", &"v".repeat(room + 1)).is_err());
    }

    #[test]
    fn impossible_commands_are_refused() {
        let table: [(&[&str], &str); 3] =
            [(&[], "empty"), (&[""], "empty"), (&["a", "b\0c"], "NUL")];
        for (command, problem) in table {
            let command: Vec<OsString> = command.iter().map(OsString::from).collect();
            let message = check_command(&command).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
        let long = vec![OsString::from("a"); COMMAND_LIMIT / 2];
        assert!(check_command(&long).is_ok());
        let longer = vec![OsString::from("a"); COMMAND_LIMIT / 2 + 1];
        assert!(check_command(&longer).is_err());
    }
}
