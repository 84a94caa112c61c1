//! The kernel's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How much of a table is read. The kernel lists listening sockets first, so that a host with many
/// connections costs no more than this.
const TABLE_LIMIT: u64 = 256 << 10;

/// The kernel's number for a socket that listens.
const LISTEN: &str = "0A";

/// A listening socket of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    pub(super) inode: u64,
    pub(super) address: SocketAddr,
}

/// All listening sockets of our network namespace, ordered by inode.
pub(super) fn read_tables() -> Vec<Listener> {
    let mut listeners: Vec<Listener> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .flat_map(|path| parse_table(&read_start(path).unwrap_or_default()))
        .collect();
    listeners.sort_unstable();
    listeners
}

fn read_start(path: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TABLE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The listeners in a table; lines that are cut off or not understood are passed over.
pub(super) fn parse_table(text: &str) -> Vec<Listener> {
    text.lines().filter_map(parse_line).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn parse_line(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace();
    let address = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let address = parse_address(address)?;
    (state == LISTEN && inode != 0).then_some(Listener { inode, address })
}

/// `0100007F:1F90`: each group of four bytes is a number in the byte order of the machine.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(parse_word(ip)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
                word.copy_from_slice(&parse_word(ip.get(index * 8..index * 8 + 8)?)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn parse_word(hex: &str) -> Option<[u8; 4]> {
    u32::from_str_radix(hex, 16).ok().map(u32::to_ne_bytes)
}

/// The inode in the target of a link in `/proc/PID/fd`: `socket:[12345]`.
pub(super) fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
