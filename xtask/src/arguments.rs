//! The few flags that the commands take.

use crate::failure::Failure;

/// Succeeds when `arguments` holds nothing but `allowed` flags.
pub(crate) fn only(arguments: &[String], allowed: &[&str]) -> Result<(), Failure> {
    match arguments.iter().find(|argument| !allowed.contains(&argument.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let taken = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            Err(Failure::new(format!("unknown argument `{unknown}` (taken here: {taken})")))
        }
    }
}

/// Whether `flag` was given.
pub(crate) fn has(arguments: &[String], flag: &str) -> bool {
    arguments.iter().any(|argument| argument == flag)
}
