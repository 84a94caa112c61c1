//! Whom to believe, what to pass on, and when a request goes round in circles.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{client_address, via_contains, write_forwarded_for};

const PEER: &str = "10.0.0.9";

fn bytes<'a>(values: &'a [&'a str]) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone {
    values.iter().map(|value| value.as_bytes())
}

fn peer() -> Option<IpAddr> {
    PEER.parse().ok()
}

fn text(peer: Option<IpAddr>) -> String {
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}

#[test]
fn the_client_is_the_entry_of_the_last_trusted_hop() {
    for (values, hops, expect) in [
        (&[][..], 0, PEER),
        (&[], 3, PEER),
        (&["1.1.1.1"], 0, PEER),
        (&["1.1.1.1"], 1, "1.1.1.1"),
        (&["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1"),
        (&["6.6.6.6, 1.1.1.1"], 2, "6.6.6.6"),
        (&["6.6.6.6", "1.1.1.1"], 1, "1.1.1.1"),
        (&["5.5.5.5, 6.6.6.6", "1.1.1.1 ,\t2.2.2.2"], 3, "6.6.6.6"),
        // Fewer entries than hops: the farthest that there is.
        (&["1.1.1.1"], 5, "1.1.1.1"),
        (&["1.1.1.1"], u32::MAX, "1.1.1.1"),
        // Empty elements are none.
        (&["6.6.6.6,, ,1.1.1.1,", ""], 1, "1.1.1.1"),
        // With ports, brackets and both.
        (&["1.1.1.1:80"], 1, "1.1.1.1"),
        (&["2001:db8::1"], 1, "2001:db8::1"),
        (&["[2001:db8::1]"], 1, "2001:db8::1"),
        (&["[2001:db8::1]:443"], 1, "2001:db8::1"),
        // What is no address ends the chain.
        (&["1.1.1.1, unknown"], 2, PEER),
        (&["1.1.1.1, 999.1.1.1, 2.2.2.2"], 3, "2.2.2.2"),
        (&["[1.1.1.1"], 1, PEER),
    ] {
        let client = client_address(bytes(values), hops, peer());
        assert_eq!(client, expect.parse().ok(), "{values:?} with {hops} trusted");
    }
}

#[test]
fn a_unix_peer_has_no_address_but_may_name_one() {
    assert_eq!(client_address(bytes(&["1.1.1.1"]), 0, None), None);
    assert_eq!(client_address(bytes(&["1.1.1.1"]), 1, None), "1.1.1.1".parse().ok());
}

#[test]
fn what_is_not_believed_is_not_passed_on() {
    for (values, hops, peer, expect) in [
        (&[][..], 0, peer(), PEER),
        (&["1.1.1.1"], 0, peer(), PEER),
        (&["6.6.6.6, 1.1.1.1:80"], 1, peer(), "1.1.1.1:80, 10.0.0.9"),
        (&["6.6.6.6", "1.1.1.1"], 2, peer(), "6.6.6.6, 1.1.1.1, 10.0.0.9"),
        (&["5.5.5.5, bad, 1.1.1.1"], 3, peer(), "1.1.1.1, 10.0.0.9"),
        (&["1.1.1.1"], 1, None, "1.1.1.1"),
        (&["1.1.1.1"], 0, None, ""),
    ] {
        let mut out = b"kept: ".to_vec();
        write_forwarded_for(bytes(values), hops, text(peer).as_bytes(), &mut out);
        let value = String::from_utf8(out).unwrap();
        assert_eq!(value.strip_prefix("kept: "), Some(expect), "{values:?} with {hops} trusted");
    }
}

proptest! {
    #[test]
    fn nothing_that_the_client_writes_changes_its_address(
        forged in ".{0,40}",
        forged_too in ".{0,40}",
    ) {
        // Two proxies of ours in front: the first saw the client, the second saw the first.
        let values = [&*forged, &*format!("{forged_too}, 203.0.113.7"), "10.0.0.1"];
        let client = client_address(bytes(&values), 2, peer());
        prop_assert_eq!(client, "203.0.113.7".parse().ok());
    }

    #[test]
    fn the_next_hop_finds_the_same_client(
        entries in prop::collection::vec(any::<u32>().prop_map(std::net::Ipv4Addr::from), 0..6),
        hops in 0_u32..6,
    ) {
        let value = entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let client = client_address(bytes(&[&value]), hops, peer());
        let mut next = Vec::new();
        write_forwarded_for(bytes(&[&value]), hops, text(peer()).as_bytes(), &mut next);
        let us = "127.0.0.1".parse().ok();
        let next = [&*next];
        prop_assert_eq!(client_address(next.into_iter(), hops + 1, us), client);
    }
}

#[test]
fn a_loop_is_told_by_our_name_in_via() {
    for (value, expect) in [
        ("1.1 pillion-7f", true),
        ("1.1 PILLION-7F", true),
        ("HTTP/1.1 pillion-7f", true),
        ("1.0 fred, 1.1 pillion-7f (made of iron), 2 other", true),
        ("1.0 fred ,1.1\t pillion-7f", true),
        ("1.1 (a comment, never closed, 1.1 pillion-7f", true),
        ("", false),
        (",,", false),
        ("pillion-7f", false),
        ("1.1 pillion-7f2", false),
        ("1.1 pillion-7", false),
        ("1.1 pillion-7f:80", false),
        ("1.1 other (pillion-7f)", false),
    ] {
        assert_eq!(via_contains(value.as_bytes(), b"pillion-7f"), expect, "{value:?}");
    }
}
