//! Descendants found in process tables made up for the test.

use super::*;
use proptest::prelude::*;

#[test]
fn the_parent_is_read_past_any_name() {
    let table = [
        ("12 (sh) S 7 12 12 0 -1", Some(7)),
        ("12 (a) b) (c) R 99 12", Some(99)),
        ("12 (\n) Z 1 0", Some(1)),
        ("12 (sh) S", None),
        ("12 sh S 7", None),
        ("", None),
    ];
    for (stat, parent) in table {
        assert_eq!(parse_parent(stat), parent.map(Pid::from_raw), "{stat:?}");
    }
}

#[test]
fn both_ways_to_find_children_agree() {
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let us = nix::unistd::getpid();
    assert!(scan().get(&us).is_some_and(|children| children.contains(&pid)));
    assert!(descendants(us).contains(&pid));
    assert!(descendants(pid).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
}

proptest! {
    #[test]
    fn any_stat_line_is_read_or_refused(stat in ".{0,80}") {
        let _: Option<Pid> = parse_parent(&stat);
        let _: Vec<Pid> = parse_children(&stat);
    }
}

#[test]
fn nothing_left_ends_the_ending() {
    let now = Instant::now();
    assert_eq!(Ending::new(now).step(&[], None, now), Left::Nothing);
}

#[test]
fn the_deadline_is_brought_forward_and_never_put_off() {
    let now = Instant::now();
    let mut ending = Ending::new(now + Duration::from_secs(10));
    ending.hasten(now + Duration::from_secs(20));
    assert_eq!(ending.kill_at, now + Duration::from_secs(10));
    ending.hasten(now + Duration::from_secs(1));
    assert_eq!(ending.kill_at, now + Duration::from_secs(1));
}

#[test]
fn a_process_that_cannot_be_killed_is_given_up() {
    let now = Instant::now();
    let mut ending = Ending::new(now);
    // No process has this id: the kernel's largest is 4194304.
    let tree = [Pid::from_raw(i32::MAX)];
    assert_eq!(ending.step(&tree, None, now), Left::Processes(STEP));
    assert_eq!(ending.step(&tree, None, now + GIVE_UP), Left::Nothing);
}
