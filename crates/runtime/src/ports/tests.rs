//! The kernel's socket tables, and how a port is chosen among several.

use super::*;
use proptest::prelude::*;
use std::net::TcpListener;
use table::{parse_table, socket_inode};

const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                    uid  timeout inode\n";

fn tcp_line(address: &str, state: &str, inode: &str) -> String {
    format!(
        "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        \
         0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )
}

/// As the kernel writes it.
fn kernel_hex(address: SocketAddr) -> String {
    let words = |bytes: &[u8]| {
        bytes
            .chunks_exact(4)
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap())))
            .collect::<String>()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{ip}:{:04X}", address.port())
}

#[test]
fn only_sockets_that_listen_are_read() {
    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let hex = kernel_hex(address);
    let table = [
        HEAD.to_owned(),
        tcp_line(&hex, "0A", "4711"),
        tcp_line(&hex, "01", "4712"),
        tcp_line(&hex, "0A", "0"),
        tcp_line("nonsense", "0A", "4713"),
        format!("   0: {hex} 00000000:0000 0A"),
    ]
    .concat();
    assert_eq!(parse_table(&table), [Listener { inode: 4711, address }]);
}

proptest! {
    #[test]
    fn addresses_are_read_back_as_the_kernel_writes_them(
        ip in any::<IpAddr>(),
        port in any::<u16>(),
        inode in 1..=u64::MAX,
    ) {
        let address = SocketAddr::new(ip, port);
        let line = tcp_line(&kernel_hex(address), "0A", &inode.to_string());
        prop_assert_eq!(parse_table(&line), vec![Listener { inode, address }]);
    }

    #[test]
    fn any_table_is_read_or_passed_over(text in "[ -~éß\\n]{0,200}", cut in 0usize..160) {
        parse_table(&text);
        let line = tcp_line("0100007F:1F90", "0A", "4711");
        parse_table(line.get(..cut).unwrap_or(&line));
        let _: Option<u64> = socket_inode(&text);
    }
}

#[test]
fn only_sockets_have_an_inode() {
    let table = [
        ("socket:[12345]", Some(12345)),
        ("socket:[]", None),
        ("socket:[12", None),
        ("pipe:[12345]", None),
        ("/dev/null", None),
    ];
    for (target, inode) in table {
        assert_eq!(socket_inode(target), inode, "{target}");
    }
}

#[test]
fn a_socket_bound_to_every_address_is_reached_by_loopback() {
    let table = [
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("127.0.0.5:80", "127.0.0.5:80"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("[::1]:80", "[::1]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("[::]:80", if has_ipv6_loopback() { "[::1]:80" } else { "127.0.0.1:80" }),
    ];
    for (bound, reached) in table {
        let port = ListeningPort { address: bound.parse().unwrap(), pid: 1, inode: 1 };
        assert_eq!(port.reached_at(), reached.parse().unwrap(), "{bound}");
    }
}

fn candidate(port: u16, speaks: Option<Speaks>) -> Candidate {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Candidate { address, inode: port.into(), speaks }
}

#[test]
fn the_first_port_that_speaks_http_is_chosen() {
    use Speaks::{Http, Other, Silence};
    // Open ports, the current choice, what is chosen.
    type Case<'a> = (&'a [(u16, Option<Speaks>)], u16, Option<(u16, Why)>);
    let table: [Case<'_>; 8] = [
        (&[], 0, None),
        (&[(80, None)], 0, Some((80, Why::OnlyOne))),
        (&[(70, Some(Other)), (80, Some(Http)), (90, None)], 0, Some((80, Why::SpeaksHttp))),
        (&[(70, Some(Http)), (80, Some(Http))], 0, Some((70, Why::SpeaksHttp))),
        (&[(70, Some(Http)), (80, Some(Http))], 80, Some((80, Why::SpeaksHttp))),
        (&[(80, Some(Other)), (90, Some(Http))], 80, Some((90, Why::SpeaksHttp))),
        (&[(80, Some(Other)), (90, Some(Silence))], 0, Some((80, Why::NoneSpeaksHttp))),
        (&[(90, Some(Silence)), (80, Some(Other))], 0, Some((80, Why::NoneSpeaksHttp))),
    ];
    for (open, current, expected) in table {
        let candidates: Vec<Candidate> =
            open.iter().map(|(port, speaks)| candidate(*port, *speaks)).collect();
        let current = (current != 0).then(|| candidate(current, None).address);
        let chosen = choose(&candidates, current).map(|(address, why)| (address.port(), why));
        assert_eq!(chosen, expected, "{open:?}, current {current:?}");
    }
}

#[test]
fn answers_are_recognised() {
    let table: [(&[u8], Speaks); 7] = [
        (b"HTTP/1.0 ", Speaks::Http),
        (b"HTTP/", Speaks::Http),
        (b"\0\0\x12\x04\0\0\0\0\0", Speaks::Http),
        (b"\0\0\x08\x07\0\0\0\0\0", Speaks::Http),
        (b"-ERR unkn", Speaks::Other),
        (b"\x15\x03\x01\0\x02\x02\x0a", Speaks::Other),
        (b"", Speaks::Other),
    ];
    for (start, speaks) in table {
        assert_eq!(probe::recognise(start), speaks, "{start:?}");
    }
}

#[test]
fn the_line_for_the_banner_names_the_choice_and_the_others() {
    let address = "127.0.0.1:8080".parse().unwrap();
    let only = AppPort { address, why: Why::OnlyOne, others: vec![] };
    assert_eq!(only.to_string(), "127.0.0.1:8080");
    let several = AppPort { address, why: Why::SpeaksHttp, others: vec![5005, 9090] };
    assert_eq!(
        several.to_string(),
        "127.0.0.1:8080 (the first open port that speaks HTTP; also open: 5005, 9090)"
    );
}

#[test]
fn our_own_listeners_are_found_whatever_they_are_bound_to() {
    for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        // A host without IPv6 has only the first two.
        let Ok(listener) = TcpListener::bind(bound) else { continue };
        let address = listener.local_addr().unwrap();
        let found = listening(std::process::id());
        let port = found.iter().find(|port| port.address == address).unwrap();
        assert_eq!(port.pid, std::process::id());
        assert!(std::net::TcpStream::connect(port.reached_at()).is_ok(), "{port:?}");
        let inode = port.inode;
        drop(listener);
        assert!(listening(std::process::id()).iter().all(|port| port.inode != inode));
    }
}

#[tokio::test]
async fn silence_and_hanging_up_are_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(probe(silent.local_addr().unwrap()).await, Speaks::Silence);

    // Bound and not listening: the connection is refused.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(probe(closed.local_addr().unwrap()).await, Speaks::Silence);

    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = rude.local_addr().unwrap();
    let hang_up = async { drop(rude.accept().await.unwrap()) };
    assert_eq!(tokio::join!(probe(address), hang_up).0, Speaks::Other);
}
