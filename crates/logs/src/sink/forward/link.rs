//! A connection of the forward protocol.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Buf;
use pillion_client::{Connection, DialError, Tls, dial};
use pillion_model::logs::{ForwardOutput, ForwardTls};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use super::super::{Cause, Trouble};
use super::handshake;
use crate::msgpack::{self, Item, ReadError};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The most bytes of one message of a receiver.
const MESSAGE: usize = 64 << 10;

/// A connection over which messages may be sent.
pub(super) struct Link {
    connection: Connection,
    /// `HOST:PORT`.
    pub(super) address: Arc<str>,
    /// What came and is no whole message yet.
    unread: Vec<u8>,
    /// Whether the receiver takes another message on it.
    pub(super) may_be_kept: bool,
}

impl Link {
    /// Connects, and proves to each other what is to be proved.
    pub(super) async fn open(output: &ForwardOutput) -> Result<Self, Trouble> {
        let tls = output.tls.as_ref().map(|ForwardTls { ca, identity }| Tls {
            ca: ca.clone(),
            identity: identity.clone(),
            server_name: None,
        });
        let connection = dial(&output.address, tls.as_ref(), CONNECT).await.map_err(|error| {
            let cause = match &error {
                DialError::Tls(_) => Cause::Local,
                DialError::Connect(_) => Cause::Connect,
            };
            Trouble::new(cause, error.to_string())
        })?;
        let address = output.address.clone();
        let mut link = Self { connection, address, unread: Vec::new(), may_be_kept: true };
        if let Some(login) = &output.login {
            handshake::run(&mut link, login).await?;
        }
        Ok(link)
    }

    /// Sends a message.
    pub(super) async fn write(&mut self, mut message: impl Buf) -> Result<(), Trouble> {
        let written = async {
            self.connection.write_all_buf(&mut message).await?;
            self.connection.flush().await
        };
        written.await.map_err(|error| self.broken(&error.to_string()))
    }

    /// Waits for the next message.
    pub(super) async fn read(&mut self) -> Result<Item, Trouble> {
        loop {
            match msgpack::read(&self.unread) {
                Ok((item, length)) => {
                    self.unread.drain(..length);
                    return Ok(item);
                }
                Err(ReadError::Short) if self.unread.len() < MESSAGE => {}
                Err(ReadError::Short) => return Err(self.garbled("a message without end")),
                Err(ReadError::Bad) => return Err(self.garbled("no message of the protocol")),
            }
            match self.connection.read_buf(&mut self.unread).await {
                Ok(0) => return Err(self.broken("it was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error.to_string())),
            }
        }
    }

    /// Whether nothing came that nobody awaits, the end of the connection included.
    pub(super) fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut ctx = Context::from_waker(Waker::noop());
        let connection = Pin::new(&mut self.connection);
        self.unread.is_empty()
            && connection.poll_read(&mut ctx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    fn broken(&self, reason: &str) -> Trouble {
        Trouble::new(Cause::Broken, format!("the connection to {} broke: {reason}", self.address))
    }

    fn garbled(&self, what: &str) -> Trouble {
        Trouble::new(Cause::Garbled, format!("{} sent {what}", self.address))
    }
}
