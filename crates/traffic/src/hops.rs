//! Where a request has been: the client behind trusted proxies, what we add for the next hop, and
//! whether the request has been here before.

use std::net::{IpAddr, SocketAddr};

/// The address of the client, as far as it is to be believed.
///
/// `values` are the `X-Forwarded-For` values of the request in their order. Each proxy adds the
/// address that it saw on the right, so with `trusted_hops` proxies of ours in front the entry that
/// many from the right is the client. Everything further left was written by the client itself. With
/// fewer entries than that, the leftmost; where an entry is no address, the one to its right; and
/// `peer`, the other end of the connection (`None` on a Unix socket), where nothing is believed.
pub fn client_address<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]> + Clone,
    trusted_hops: u32,
    peer: Option<IpAddr>,
) -> Option<IpAddr> {
    entries(values).rev().take(trusted_hops as usize).map_while(address).last().or(peer)
}

/// Writes the `X-Forwarded-For` value for the next hop to `out`: what is believed of the incoming
/// `values`, in its order and as it was written, and `peer`, the address of the other end of the
/// connection as text (empty on a Unix socket). Writes nothing where there is neither.
pub fn write_forwarded_for<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]> + Clone,
    trusted_hops: u32,
    peer: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let entries = entries(values);
    let from_the_right = entries.clone().rev().take(trusted_hops as usize);
    let believed = from_the_right.take_while(|entry| address(entry).is_some()).count();
    let unbelieved = entries.clone().count() - believed;
    for entry in entries.skip(unbelieved) {
        write_entry(entry, start, out);
    }
    if !peer.is_empty() {
        write_entry(peer, start, out);
    }
}

fn write_entry(entry: &[u8], start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(entry);
}

/// Whether a `Via` value names `pseudonym` as one of its receivers (RFC 9110 §7.6.3), in any case.
///
/// Comments are not told apart: a comment that never ends could hide a loop, whereas a client that
/// writes our name into one only harms itself.
pub fn via_contains(value: &[u8], pseudonym: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|element| {
        let mut words =
            element.split(|&byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|received_by| received_by.eq_ignore_ascii_case(pseudonym))
    })
}

/// The entries of all values in their order; empty ones are no entries (RFC 9110 §5.6.1).
fn entries<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]> + Clone,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone {
    values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests;
