//! Choices by table, by property, and in a simulation of busy endpoints.

use std::collections::VecDeque;

use pillion_model::snapshot::Balance::{self, LeastRequest, RoundRobin};
use proptest::prelude::*;

use super::{Load, pick};
use crate::random::Random;

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    in_flight: u32,
    usable: bool,
}

impl Load for Endpoint {
    fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn is_usable(&self) -> bool {
        self.usable
    }
}

/// `3` is usable with three requests in flight, `x` is not usable.
fn endpoints(text: &str) -> Vec<Endpoint> {
    let read = |c: char| Endpoint { in_flight: c.to_digit(10).unwrap_or(0), usable: c != 'x' };
    text.chars().map(read).collect()
}

#[test]
fn a_choice_without_choice_is_the_same_for_every_way_of_balancing() {
    for (text, avoid, expect) in [
        ("", None, None),
        ("", Some(0), None),
        ("0", None, Some(0)),
        ("x", None, None),
        ("0", Some(0), Some(0)),
        ("x", Some(0), None),
        ("xx", None, None),
        ("x0", None, Some(1)),
        ("00", Some(0), Some(1)),
        ("0x", Some(0), Some(0)),
        ("x0x", Some(1), Some(1)),
        ("xx0x", Some(7), Some(2)),
        ("0x9x", Some(0), Some(2)),
    ] {
        for balance in [LeastRequest, RoundRobin] {
            for seed in 0..20 {
                let mut cursor = seed as usize;
                let choice =
                    pick(balance, &endpoints(text), &mut cursor, &mut Random::new(seed), avoid);
                assert_eq!(choice, expect, "{balance:?} of {text:?}, avoiding {avoid:?}");
            }
        }
    }
}

fn some_endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let one = (0_u32..9, any::<bool>());
    prop::collection::vec(one.prop_map(|(in_flight, usable)| Endpoint { in_flight, usable }), 0..12)
}

proptest! {
    #[test]
    fn the_choice_is_usable_and_not_the_avoided_one_unless_it_is_the_last(
        endpoints in some_endpoints(),
        avoid in prop::option::of(0_usize..12),
        mut cursor in any::<usize>(),
        seed in any::<u64>(),
        balance in prop::sample::select(vec![LeastRequest, RoundRobin]),
    ) {
        let usable: Vec<usize> = (0..endpoints.len()).filter(|&at| endpoints[at].usable).collect();
        let choice = pick(balance, &endpoints, &mut cursor, &mut Random::new(seed), avoid);
        match choice {
            None => prop_assert!(usable.is_empty()),
            Some(at) => {
                prop_assert!(usable.contains(&at));
                prop_assert!(Some(at) != avoid || usable.len() == 1);
            }
        }
    }

    #[test]
    fn the_most_loaded_endpoint_is_never_chosen_where_loads_differ(
        loads in prop::collection::hash_set(0_u32..100, 2..10),
        seed in any::<u64>(),
    ) {
        let endpoints: Vec<_> =
            loads.iter().map(|&in_flight| Endpoint { in_flight, usable: true }).collect();
        let at = pick(LeastRequest, &endpoints, &mut 0, &mut Random::new(seed), None).unwrap();
        prop_assert!(loads.iter().any(|&load| load > endpoints[at].in_flight));
    }
}

#[test]
fn round_robin_visits_each_usable_endpoint_once_a_round() {
    let endpoints = endpoints("0x00x0");
    let (mut cursor, mut random) = (4, Random::new(0));
    let mut next = || pick(RoundRobin, &endpoints, &mut cursor, &mut random, None).unwrap();
    let visits: Vec<usize> = (0..9).map(|_| next()).collect();
    assert_eq!(visits, [5, 0, 2, 3, 5, 0, 2, 3, 5]);
}

#[test]
fn round_robin_goes_on_where_endpoints_come_and_go() {
    let (mut cursor, mut random) = (0, Random::new(0));
    let mut next = |text: &str| pick(RoundRobin, &endpoints(text), &mut cursor, &mut random, None);
    let visits = ["0000", "0000", "0000", "00", "00", "", "000", "000"].map(&mut next);
    assert_eq!(visits, [Some(0), Some(1), Some(2), Some(1), Some(0), None, Some(1), Some(2)]);
}

/// How often each endpoint is chosen in `draws` choices.
fn histogram(text: &str, avoid: Option<usize>, draws: usize) -> Vec<usize> {
    let endpoints = endpoints(text);
    let mut random = Random::new(42);
    let mut seen = vec![0; endpoints.len()];
    for _ in 0..draws {
        seen[pick(LeastRequest, &endpoints, &mut 0, &mut random, avoid).unwrap()] += 1;
    }
    seen
}

#[test]
fn equal_loads_are_chosen_equally_often() {
    for (text, avoid) in [("00", None), ("55555", None), ("0x00x0x0", None), ("00000", Some(2))] {
        let open = text.chars().enumerate().filter(|&(at, c)| c != 'x' && Some(at) != avoid);
        let fair = 50_000 / open.count();
        for (at, count) in histogram(text, avoid, 50_000).into_iter().enumerate() {
            let closed = text.as_bytes()[at] == b'x' || Some(at) == avoid;
            let expect = if closed { 0..=0 } else { fair * 95 / 100..=fair * 105 / 100 };
            assert!(expect.contains(&count), "{text:?}[{at}]: {count} of about {fair}");
        }
    }
}

#[test]
fn of_n_idle_but_one_the_busy_one_gets_nothing_and_the_others_the_rest() {
    let seen = histogram("00090", None, 40_000);
    assert_eq!(seen[3], 0);
    assert!(seen.iter().enumerate().all(|(at, &count)| at == 3 || count > 9_000), "{seen:?}");
}

/// Lets `ticks` requests arrive, one a tick; endpoint 0 takes `slow` ticks for one, the others
/// `quick`. Gives how many each endpoint served and the longest queue that each had.
fn simulate(balance: Balance, ticks: u64, slow: u64, quick: u64) -> (Vec<u32>, Vec<u32>) {
    const ENDPOINTS: usize = 10;
    let mut endpoints = vec![Endpoint { in_flight: 0, usable: true }; ENDPOINTS];
    let mut ends = vec![VecDeque::new(); ENDPOINTS];
    let (mut served, mut longest) = (vec![0; ENDPOINTS], vec![0; ENDPOINTS]);
    let (mut cursor, mut random) = (0, Random::new(9));
    for now in 0..ticks {
        for (endpoint, ends) in endpoints.iter_mut().zip(&mut ends) {
            while ends.front().is_some_and(|&end| end <= now) {
                ends.pop_front();
                endpoint.in_flight -= 1;
            }
        }
        let at = pick(balance, &endpoints, &mut cursor, &mut random, None).unwrap();
        ends[at].push_back(now + if at == 0 { slow } else { quick });
        endpoints[at].in_flight += 1;
        served[at] += 1;
        longest[at] = longest[at].max(endpoints[at].in_flight);
    }
    (served, longest)
}

#[test]
fn a_slow_endpoint_gets_less_and_nobody_starves() {
    let (served, longest) = simulate(LeastRequest, 100_000, 200, 20);
    let (_, round_robin) = simulate(RoundRobin, 100_000, 200, 20);
    let others = served[1..].iter().sum::<u32>() / 9;
    assert!(served[0] > 500 && served[0] * 4 < others, "{served:?}");
    assert!(served[1..].iter().all(|&count| count > others * 9 / 10), "{served:?}");
    assert!(longest[0] * 2 < round_robin[0], "{longest:?} against {round_robin:?}");
    assert!(longest.iter().all(|&queue| queue <= 8), "{longest:?}");
}
