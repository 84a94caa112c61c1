//! Text that grows up to a limit and is overwritten when it is dropped.

use zeroize::Zeroizing;

use super::MAX_OUTPUT;
use super::fault::Fault;

/// What a template, or a function of it, writes.
#[derive(Default)]
pub(super) struct Output(Zeroizing<String>);

impl Output {
    /// # Errors
    /// The text would be longer than [`MAX_OUTPUT`].
    pub(super) fn push(&mut self, text: &str) -> Result<(), Fault> {
        if self.0.len() + text.len() > MAX_OUTPUT {
            return Err(Fault::new(format!("the text becomes longer than {MAX_OUTPUT} bytes")));
        }
        // Growing in place would leave copies of what is secret behind.
        if self.0.capacity() < self.0.len() + text.len() {
            let mut larger = Zeroizing::new(String::with_capacity((self.0.len() + text.len()) * 2));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        self.0.push_str(text);
        Ok(())
    }

    /// `text`, `times` times.
    pub(super) fn push_repeated(&mut self, text: &str, times: usize) -> Result<(), Fault> {
        if text.len().saturating_mul(times) > MAX_OUTPUT {
            return Err(Fault::new(format!("the text becomes longer than {MAX_OUTPUT} bytes")));
        }
        (0..times).try_for_each(|_| self.push(text))
    }

    pub(super) fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        self.push(text).map_err(|fault| std::io::Error::other(fault.message))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
