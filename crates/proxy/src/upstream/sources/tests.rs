//! Sources in every order of events, against the simplest telling of them.

use super::*;

fn name(host: &str) -> EndpointSource {
    EndpointSource::Dns { host: host.to_owned(), port: 80 }
}

fn address(last: u8) -> SocketAddr {
    ([127, 0, 0, last], 80).into()
}

fn targets(last: u8) -> Vec<Target> {
    vec![Target::Tcp(address(last))]
}

fn failed() -> Result<Vec<Target>, String> {
    Err("no such name".to_owned())
}

/// What can happen to an upstream whose configuration switches between a name and an address.
#[derive(Clone, Copy, Debug)]
enum Step {
    WantName,
    WantAddress,
    /// The task that follows the name wakes, and ends if it is not wanted.
    Wake,
    Answer,
    Fail,
}

const STEPS: [Step; 5] = [Step::WantName, Step::WantAddress, Step::Wake, Step::Answer, Step::Fail];

/// The same again, told in the simplest way.
#[derive(Clone, Copy, Default)]
struct Model {
    wants_name: bool,
    is_followed: bool,
    is_known: bool,
    has_failed: bool,
}

impl Model {
    fn apply(&mut self, sources: &mut Sources, step: Step) {
        match step {
            Step::WantName => {
                let new = sources.want(&[name("app")], None);
                assert_eq!(new.is_empty(), self.is_followed, "one task at a time");
                self.wants_name = true;
                if !self.is_followed {
                    *self = Self { wants_name: true, is_followed: true, ..Self::default() };
                }
            }
            Step::WantAddress => {
                assert!(sources.want(&[EndpointSource::Address(address(9))], None).is_empty());
                self.wants_name = false;
            }
            Step::Wake if self.is_followed => {
                assert_eq!(sources.still_wants(&name("app")), self.wants_name);
                self.is_followed = self.wants_name;
            }
            Step::Answer if self.is_followed => {
                sources.answer(&name("app"), Ok(targets(1)));
                (self.is_known, self.has_failed) = (true, false);
            }
            Step::Fail if self.is_followed => {
                sources.answer(&name("app"), failed());
                self.has_failed = true;
            }
            // There is no task that could.
            Step::Wake | Step::Answer | Step::Fail => {}
        }
    }

    fn standing(self) -> Standing {
        match self {
            Self { wants_name: false, .. } | Self { is_known: true, .. } => Standing::Ready,
            Self { has_failed: true, .. } => Standing::Without(Reason::DnsFailure),
            Self { .. } => Standing::Pending,
        }
    }

    fn list(self) -> Vec<Target> {
        match self {
            Self { wants_name: false, .. } => targets(9),
            Self { is_known: true, .. } => targets(1),
            Self { .. } => Vec::new(),
        }
    }
}

#[test]
fn whatever_comes_between_a_request_waits_until_the_first_lookup_has_ended() {
    // All 15,625 ways to order six steps, of which each look is one.
    for order in 0..STEPS.len().pow(6) {
        let mut sources = Sources::default();
        let mut model = Model::default();
        let first = [Step::WantName];
        let steps = (0..6).map(|at| STEPS[order / STEPS.len().pow(at) % STEPS.len()]);
        let mut so_far = Vec::new();
        for step in first.into_iter().chain(steps) {
            so_far.push(step);
            let version = sources.version();
            let old = found(&sources);
            model.apply(&mut sources, step);
            assert_eq!(sources.standing(), model.standing(), "after {so_far:?}");
            assert_eq!(found(&sources), model.list(), "after {so_far:?}");
            assert_eq!(sources.version() != version, found(&sources) != old, "after {so_far:?}");
        }
    }
}

fn found(sources: &Sources) -> Vec<Target> {
    sources.list().iter().map(|endpoint| endpoint.target.clone()).collect()
}

#[test]
fn no_endpoints_have_one_reason() {
    let (a, b) = (name("a"), name("b"));
    // What is wanted, which of the names have failed, and which have an answer.
    let cases = [
        (vec![], "", "", Standing::Without(Reason::NoEndpoint)),
        (vec![EndpointSource::App], "", "", Standing::Without(Reason::AppNotListening)),
        (vec![a.clone()], "", "", Standing::Pending),
        (vec![a.clone()], "a", "", Standing::Without(Reason::DnsFailure)),
        (vec![a.clone(), b.clone()], "a", "", Standing::Pending),
        (vec![a.clone(), b.clone()], "ab", "", Standing::Without(Reason::DnsFailure)),
        (vec![a.clone(), b], "a", "b", Standing::Ready),
        (vec![a.clone(), a], "a", "", Standing::Without(Reason::DnsFailure)),
    ];
    for (wanted, failing, good, expected) in cases {
        let mut sources = Sources::default();
        drop(sources.want(&wanted, None));
        for host in failing.chars() {
            sources.answer(&name(&host.to_string()), failed());
        }
        for host in good.chars() {
            sources.answer(&name(&host.to_string()), Ok(targets(1)));
        }
        assert_eq!(sources.standing(), expected, "{wanted:?} {failing:?} {good:?}");
    }
}

#[test]
fn the_last_good_answer_stays_and_the_failure_is_shown_until_the_next() {
    let mut sources = Sources::default();
    assert_eq!(sources.want(&[name("a")], None), [name("a")]);
    sources.answer(&name("a"), Ok(targets(1)));
    sources.answer(&name("a"), failed());
    assert_eq!((found(&sources), sources.lookup_error()), (targets(1), Some("no such name")));
    sources.answer(&name("a"), Ok(targets(2)));
    assert_eq!((found(&sources), sources.lookup_error()), (targets(2), None));
}

#[test]
fn an_endpoint_that_several_sources_give_is_listed_once_and_stays_the_same() {
    let mut sources = Sources::default();
    drop(sources.want(&[name("a"), EndpointSource::Address(address(1)), name("b")], None));
    let first = Arc::clone(&sources.list()[0]);
    sources.answer(&name("a"), Ok(vec![Target::Tcp(address(2)), Target::Tcp(address(1))]));
    sources.answer(&name("b"), Ok(targets(2)));
    assert_eq!(found(&sources), [Target::Tcp(address(2)), Target::Tcp(address(1))]);
    assert!(Arc::ptr_eq(&sources.list()[1], &first));
}

#[test]
fn the_app_is_where_it_listens_now() {
    let mut sources = Sources::default();
    drop(sources.want(&[EndpointSource::App], Some(address(1))));
    assert_eq!(found(&sources), targets(1));
    sources.set_app(Some(address(2)));
    assert_eq!(found(&sources), targets(2));
    sources.set_app(None);
    assert_eq!(sources.standing(), Standing::Without(Reason::AppNotListening));
}
