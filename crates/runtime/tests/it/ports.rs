//! The port of a real app is found while it opens and closes ports.

use std::time::Duration;

use pillion_runtime::ports::{AppPort, PortFinder, Why};
use tokio::time::timeout;

use crate::host::{Host, PATIENCE, command};

/// An app that opens what it is told to open.
struct App(Host);

impl App {
    fn start() -> Self {
        Self(Host::spawn(command(["listen"])))
    }

    /// Opens a port on `ip` that speaks `kind`, and returns its number.
    fn open(&mut self, kind: &str, ip: &str) -> u16 {
        self.0.say(&format!("{kind} {ip}:0"));
        self.0.wait_for("open ").split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn close(&mut self, port: u16) {
        self.0.say(&format!("close {port}"));
        self.0.wait_for("closed");
    }

    fn finder(&self, exclude: &[u16]) -> PortFinder {
        PortFinder::new(self.0.id(), exclude)
    }
}

async fn next(finder: &mut PortFinder) -> Option<AppPort> {
    timeout(PATIENCE, finder.changed()).await.unwrap()
}

#[tokio::test]
async fn the_only_port_is_taken_without_asking_it() {
    let mut app = App::start();
    let mut finder = app.finder(&[]);
    let nothing = timeout(Duration::from_millis(50), finder.changed()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let port = app.open("http", "0.0.0.0");
    let found = next(&mut finder).await.unwrap();
    assert_eq!(found.address, ([127, 0, 0, 1], port).into());
    assert_eq!((found.why, found.others), (Why::OnlyOne, vec![]));
    app.0.close_stdin();
    app.0.end();
    assert!(!app.0.said.contains("asked"), "{}", app.0.said);
}

#[tokio::test]
async fn of_several_ports_the_one_that_speaks_http_is_taken() {
    let mut app = App::start();
    let first = app.open("other", "127.0.0.1");
    let http = app.open("http", "127.0.0.2");
    let last = app.open("other", "127.0.0.1");
    let found = next(&mut app.finder(&[])).await.unwrap();
    assert_eq!(found.address, ([127, 0, 0, 2], http).into());
    let mut others = vec![first, last];
    others.sort_unstable();
    assert_eq!((found.why, found.others), (Why::SpeaksHttp, others));
}

#[tokio::test]
async fn a_port_that_speaks_http_replaces_one_that_does_not() {
    let mut app = App::start();
    let other = app.open("other", "127.0.0.1");
    let mut finder = app.finder(&[]);
    assert_eq!(next(&mut finder).await.unwrap().address.port(), other);
    let http = app.open("http", "127.0.0.1");
    let found = next(&mut finder).await.unwrap();
    assert_eq!((found.address.port(), found.why), (http, Why::SpeaksHttp));
}

#[tokio::test]
async fn an_app_that_closes_its_port_and_opens_another_is_followed() {
    let mut app = App::start();
    let first = app.open("http", "127.0.0.1");
    let mut finder = app.finder(&[]);
    assert_eq!(next(&mut finder).await.unwrap().address.port(), first);
    app.close(first);
    assert_eq!(next(&mut finder).await, None);
    let second = app.open("http", "127.0.0.1");
    assert_eq!(next(&mut finder).await.unwrap().address.port(), second);
}

#[tokio::test]
async fn excluded_ports_are_never_the_apps() {
    let mut app = App::start();
    let excluded = app.open("http", "127.0.0.1");
    let port = app.open("http", "127.0.0.1");
    let found = next(&mut app.finder(&[excluded])).await.unwrap();
    assert_eq!((found.address.port(), found.others), (port, vec![]));
}
