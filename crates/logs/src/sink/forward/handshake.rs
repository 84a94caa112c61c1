//! How both sides prove that they know the same key: HELO, PING, PONG.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA512};
use pillion_model::logs::ForwardLogin;
use tokio::time::timeout;

use super::super::http::first_line;
use super::super::{Cause, Trouble, excerpt};
use super::link::Link;
use super::random;
use crate::msgpack::{self, Item};

/// How long the receiver may take for each of its messages.
const ANSWER: Duration = Duration::from_secs(5);
/// The name that we have there.
const NAME: &str = "pillion";
const SALT: usize = 16;

/// What the receiver begins with.
struct Greeting {
    nonce: Vec<u8>,
    /// The salt of passwords; empty where it knows no users.
    auth: Vec<u8>,
    may_be_kept: bool,
}

/// Proves who we are, and that the receiver is who we mean.
pub(super) async fn run(link: &mut Link, login: &ForwardLogin) -> Result<(), Trouble> {
    let address = link.address.clone();
    let refused = |text: String| Trouble::new(Cause::Credentials, format!("{address} {text}"));
    let key = first_line(&login.shared_key)?;
    let hello = read(link, "did not begin with a greeting; does it have a key?").await?;
    let hello = greeting(&hello).ok_or_else(|| garbled(&address, "greeting"))?;
    // As text: Fluent Bit takes no bytes here.
    let salt = hex(&random::<SALT>()?);
    let known = |name: &[u8]| digest(&[salt.as_bytes(), name, &hello.nonce, key.as_bytes()]);

    let mut ping = Vec::new();
    msgpack::array(6, &mut ping);
    msgpack::text("PING", &mut ping);
    msgpack::text(NAME, &mut ping);
    msgpack::text(&salt, &mut ping);
    msgpack::text(&known(NAME.as_bytes()), &mut ping);
    let (user, proof) = match &login.user {
        _ if hello.auth.is_empty() => ("", String::new()),
        Some((user, file)) => {
            let password = first_line(file)?;
            (&**user, digest(&[&hello.auth, user.as_bytes(), password.as_bytes()]))
        }
        None => return Err(refused("wants a user: set user and password_file".to_owned())),
    };
    msgpack::text(user, &mut ping);
    msgpack::text(&proof, &mut ping);
    link.write(ping.as_slice()).await?;

    let pong = read(link, "did not say whether it takes us").await?;
    let Some([Item::Bool(is_taken), reason, name, theirs]) = pong.message("PONG") else {
        return Err(garbled(&address, "answer to our key"));
    };
    if !is_taken {
        let reason = excerpt(reason.text().unwrap_or_default());
        return Err(refused(format!("refused our key: {reason}")));
    }
    if theirs.text() != Some(known(name.text().unwrap_or_default()).as_bytes()) {
        return Err(refused("does not know our key".to_owned()));
    }
    link.may_be_kept = hello.may_be_kept;
    Ok(())
}

async fn read(link: &mut Link, silent: &str) -> Result<Item, Trouble> {
    match timeout(ANSWER, link.read()).await {
        Ok(item) => item,
        Err(_) => {
            let text = format!("{} {silent} ({ANSWER:?})", link.address);
            Err(Trouble::new(Cause::Timeout, text))
        }
    }
}

fn greeting(hello: &Item) -> Option<Greeting> {
    let options = hello.message("HELO")?.first()?;
    let text = |name: &str| options.field(name).and_then(Item::text).map(<[u8]>::to_vec);
    Some(Greeting {
        nonce: text("nonce")?,
        auth: text("auth").unwrap_or_default(),
        may_be_kept: options.field("keepalive") != Some(&Item::Bool(false)),
    })
}

fn garbled(address: &str, what: &str) -> Trouble {
    Trouble::new(Cause::Garbled, format!("{address} sent no {what} of the forward protocol"))
}

/// SHA-512 of the parts one after another, in hexadecimal digits.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
