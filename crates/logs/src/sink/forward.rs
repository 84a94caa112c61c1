//! Fluentd's forward protocol, version 1: each load is a message (`PackedForward` or
//! `CompressedPackedForward`) that the receiver acknowledges by the id in it.

mod handshake;
mod link;

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use bytes::{Buf, Bytes};
use pillion_model::logs::{Compression, ForwardOutput};
use tokio::time::{Instant, timeout};

use super::compress::Compressor;
use super::{Cause, Load, SinkError, Trouble, Verdict};
use crate::msgpack::{self, Item, Open};
use link::Link;

/// How long a connection that nobody uses is kept: what lies between may forget it.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of an id.
const CHUNK: usize = 16;

/// A receiver.
pub(super) struct Forward {
    output: ForwardOutput,
    /// `None`: entries are not compressed.
    compressor: RefCell<Option<Compressor>>,
    /// Connections that wait for the next load, and since when. At most `concurrency`, because each
    /// was in use before.
    idle: RefCell<Vec<(Link, Instant)>>,
}

impl Forward {
    pub(super) fn new(output: &ForwardOutput) -> Result<Self, SinkError> {
        // Version 1 knows gzip alone.
        let compression = match output.compress {
            Compression::None => Compression::None,
            Compression::Gzip | Compression::Zstd => Compression::Gzip,
        };
        let compressor = Compressor::new(compression).map_err(SinkError::Compress)?;
        Ok(Self {
            output: output.clone(),
            compressor: RefCell::new(compressor),
            idle: RefCell::default(),
        })
    }

    pub(super) async fn send(&self, load: Load<'_>) -> Verdict {
        match timeout(self.output.timeout, self.exchange(load)).await {
            Ok(Ok(())) => Verdict::Delivered,
            Ok(Err(trouble)) => Verdict::Retry(trouble),
            Err(_) => {
                let (address, limit) = (&self.output.address, self.output.timeout);
                let text = format!("{address} did not acknowledge within {limit:?}");
                Verdict::Retry(Trouble::new(Cause::Timeout, text))
            }
        }
    }

    /// Whatever goes wrong ends the connection: an acknowledgement that comes late is never taken
    /// for another one.
    async fn exchange(&self, load: Load<'_>) -> Result<(), Trouble> {
        let chunk = chunk()?;
        let message = self.message(load, &chunk)?;
        let mut link = match self.idle() {
            Some(link) => link,
            None => Link::open(&self.output).await?,
        };
        link.write(message).await?;
        acknowledged(&link.read().await?, &chunk, &self.output.address)?;
        if link.may_be_kept {
            self.idle.borrow_mut().push((link, Instant::now()));
        }
        Ok(())
    }

    /// A connection that still stands, as far as can be seen.
    fn idle(&self) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        while let Some((mut link, _)) = idle.pop() {
            if link.is_silent() {
                return Some(link);
            }
        }
        None
    }

    fn message(&self, load: Load<'_>, chunk: &str) -> Result<impl Buf, Trouble> {
        let mut compressor = self.compressor.borrow_mut();
        let (entries, coding) = match &mut *compressor {
            Some(compressor) => (pack(compressor, load)?, Some(compressor.coding())),
            None => (load.shared(), None),
        };
        let mut head = Vec::new();
        msgpack::array(3, &mut head);
        msgpack::text(load.partition, &mut head);
        msgpack::bytes(entries.len(), &mut head);
        let mut options = Vec::new();
        let map = Open::map(&mut options);
        msgpack::text("chunk", &mut options);
        msgpack::text(chunk, &mut options);
        msgpack::text("size", &mut options);
        msgpack::unsigned(u64::try_from(load.len()).unwrap_or(u64::MAX), &mut options);
        if let Some(coding) = coding {
            msgpack::text("compressed", &mut options);
            msgpack::text(coding, &mut options);
        }
        map.close(if coding.is_some() { 3 } else { 2 }, &mut options);
        Ok(Bytes::from(head).chain(entries).chain(Bytes::from(options)))
    }
}

fn pack(compressor: &mut Compressor, load: Load<'_>) -> Result<Bytes, Trouble> {
    let packed = compressor.pack(&[load.shared()]);
    let packed = packed.map_err(|error| format!("cannot compress: {error}"));
    packed.map(Bytes::from).map_err(|text| Trouble::new(Cause::Local, text))
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("output", &self.output).finish_non_exhaustive()
    }
}

/// An id that no other message has.
fn chunk() -> Result<String, Trouble> {
    Ok(base64::prelude::BASE64_STANDARD.encode(random::<CHUNK>()?))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Trouble> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Trouble::new(Cause::Local, "this machine gives no random numbers".to_owned())
    })?;
    Ok(bytes)
}

fn acknowledged(answer: &Item, chunk: &str, address: &str) -> Result<(), Trouble> {
    if answer.message("HELO").is_some() {
        let text = format!("{address} wants a key that both share: set shared_key_file");
        return Err(Trouble::new(Cause::Credentials, text));
    }
    match answer.field("ack").and_then(Item::text) {
        Some(ack) if ack == chunk.as_bytes() => Ok(()),
        Some(_) => {
            let text = format!("{address} acknowledged something else");
            Err(Trouble::new(Cause::Garbled, text))
        }
        None => Err(Trouble::new(Cause::Garbled, format!("{address} did not acknowledge"))),
    }
}

#[cfg(test)]
mod tests;
