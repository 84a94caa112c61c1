//! What requests and followers of names see of an upstream that changes under them.

use std::sync::Barrier;
use std::thread;

use pillion_model::Reason;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::*;
use crate::metrics::DnsStats;

const ROUNDS: usize = 5_000;
const LIMITS: UpstreamLimits =
    UpstreamLimits { connections: 1, pending: 1, requests: 1, retry_percent: 0, retry_min: 0 };

fn name() -> EndpointSource {
    EndpointSource::Dns { host: "app".to_owned(), port: 80 }
}

fn upstream() -> Arc<SharedUpstream> {
    let limits =
        UpstreamLimits { connections: 1, pending: 1, requests: 1, retry_percent: 0, retry_min: 0 };
    let upstream = Arc::new(SharedUpstream::new("origin".into(), limits));
    assert_eq!(upstream.change(|sources| sources.want(&[name()], None)), [name()]);
    upstream
}

fn answer(upstream: &SharedUpstream) {
    let target = Target::Tcp((Ipv4Addr::LOCALHOST, 80).into());
    upstream.change(|sources| sources.answer(&name(), Ok(vec![target])));
}

#[test]
fn an_answer_that_comes_while_a_request_looks_for_it_is_found() {
    let upstreams: Vec<_> = (0..ROUNDS).map(|_| upstream()).collect();
    let begin = Barrier::new(2);
    let mut lost = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for upstream in &upstreams {
                begin.wait();
                answer(upstream);
            }
        });
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        for (round, upstream) in upstreams.iter().enumerate() {
            let pool = Pool::new(Arc::clone(upstream));
            begin.wait();
            let first = runtime.block_on(pool.first_endpoint(Duration::from_secs(60)));
            lost.extend(first.err().map(|reason| (round, reason)));
        }
    });
    assert_eq!(lost, []);
}

#[test]
fn whatever_is_told_meanwhile_a_request_waits_for_an_answer_no_longer_than_it_may() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let upstream = upstream();
        let pool = Pool::new(Arc::clone(&upstream));
        let begun = tokio::time::Instant::now();
        let first = pool.first_endpoint(Duration::from_secs(5));
        let reloads = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                assert_eq!(upstream.change(|sources| sources.want(&[name()], None)), []);
            }
        };
        let first = tokio::select! {
            first = first => first,
            () = reloads => unreachable!(),
        };
        assert_eq!(first.err(), Some(Reason::DnsFailure));
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    });
}

#[test]
fn names_are_followed_no_longer_once_their_upstream_is_gone() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let metrics = pillion_runtime::metrics::Registry::new(10);
    let handle = runtime.handle().clone();
    let registry = Registry::new(Resolver::new(handle.clone(), DnsStats::new(&metrics)));
    runtime.block_on(async {
        // The hosts file has it, or nobody; either way its follower waits.
        let upstream = registry.host("localhost", 80, LIMITS, 1).unwrap();
        upstream.settled.notified().await;
        assert_eq!(handle.metrics().num_alive_tasks(), 1);
        drop(upstream);
        let begun = tokio::time::Instant::now();
        while handle.metrics().num_alive_tasks() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}
