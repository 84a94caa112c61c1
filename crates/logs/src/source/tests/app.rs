//! What an app writes comes, is shown, and never makes it wait.

use std::fs::File;
use std::io::{Read as _, Write as _};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use pillion_model::logs::{AppOutput, DropPolicy, Redact, Terminal};
use pillion_runtime::board::{Board, ExchangeIds};
use pillion_runtime::supervise::AppOutputs;

use super::super::{App, Event, Source};
use super::received::*;
use crate::budget::Budget;
use crate::record::{Stream, TraceOrigin};
use crate::redact::Redactor;

/// A source of two pipes; the ends that the app would have, and the one that a terminal would have.
struct Parts {
    source: Source,
    stdout: File,
    stderr: File,
    screen: File,
}

fn parts(board: &Board, budget: &Budget, full: DropPolicy, terminal: Terminal) -> Parts {
    let [stdout, stderr, screen] = [0, 1, 2].map(|_| pipe2(OFlag::O_CLOEXEC).unwrap());
    let outputs = AppOutputs { stdout: Some(stdout.0), stderr: Some(stderr.0) };
    let output = AppOutput { stdout: true, stderr: true, terminal, full };
    let redact = Redact { delivered: true, keys: Vec::new(), patterns: Vec::new(), cards: false };
    let app = App {
        outputs: &outputs,
        exchanges: &board.exchanges,
        redactor: Redactor::new(&redact, &board.delivered).unwrap(),
        terminal: [screen.1.try_clone().unwrap(), screen.1],
    };
    let source = Source::app(output, FRAMING, app, budget).unwrap();
    let (stdout, stderr, screen) = (stdout.1.into(), stderr.1.into(), screen.0.into());
    Parts { source, stdout, stderr, screen }
}

fn source(board: &Board, budget: &Budget, full: DropPolicy) -> (Source, File, File) {
    let Parts { source, stdout, stderr, .. } = parts(board, budget, full, Terminal::Off);
    (source, stdout, stderr)
}

#[tokio::test]
async fn what_the_app_writes_is_shown_in_order_and_without_secrets_where_asked() {
    for (terminal, expected) in [
        (Terminal::Copy, "pw hunter2\nerr\nend"),
        (Terminal::Redacted, "pw [REDACTED]\nerr\nend"),
        (Terminal::Off, ""),
    ] {
        local(async {
            let board = Board::default();
            board.delivered.replace("test", vec!["hunter2".into()]);
            let Parts { source, mut stdout, mut stderr, mut screen } =
                parts(&board, &Budget::new(1 << 20), DropPolicy::Newest, terminal);
            stdout.write_all(b"first\npw hun").unwrap();
            assert_eq!(texts(&source, 1).await, ["first"]);
            stdout.write_all(b"ter2\n").unwrap();
            assert_eq!(texts(&source, 1).await, ["pw hunter2"]);
            stderr.write_all(b"err\n").unwrap();
            assert_eq!(texts(&source, 1).await, ["err"]);
            stdout.write_all(b"end").unwrap();
            assert_eq!(rest(&source).await, ["end"]);
            drop(source);
            let shown = client(move || {
                let mut shown = String::new();
                screen.read_to_string(&mut shown).unwrap();
                shown
            });
            let first = if terminal == Terminal::Off { "" } else { "first\n" };
            assert_eq!(shown.await, format!("{first}{expected}"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_terminal_that_nobody_reads_stops_neither_app_nor_logs() {
    // A line at a time may come as a chunk of its own: the budget has room for that.
    local(async {
        let Parts { source, mut stdout, screen, .. } =
            parts(&Board::default(), &Budget::new(128 << 20), DropPolicy::Newest, Terminal::Copy);
        client(move || {
            (0..100_000).for_each(|number| writeln!(stdout, "line {number:06}").unwrap());
        })
        .await;
        until("all lines", || source.status().records == 100_000).await;
        assert!(source.status().terminal_dropped > 500_000, "{:?}", source.status());
        drop(screen);
    })
    .await;
}

#[tokio::test]
async fn lines_of_both_outputs_come_with_their_name() {
    local(async {
        let (source, mut stdout, mut stderr) =
            source(&Board::default(), &Budget::new(1 << 20), DropPolicy::Newest);
        stdout.write_all(b"out\nunfin").unwrap();
        let out = chunk(&source).await;
        assert_eq!((texts_of(&out), out.output), (vec!["out".to_owned()], Some(Stream::Stdout)));
        stderr.write_all(b"err\n").unwrap();
        let err = chunk(&source).await;
        assert_eq!((texts_of(&err), err.output), (vec!["err".to_owned()], Some(Stream::Stderr)));
        assert_ne!(out.stream, err.stream);
        drop(stdout);
        let last = chunk(&source).await;
        assert_eq!((texts_of(&last), last.first), (vec!["unfin".to_owned()], 1));
        assert!(matches!(source.next().await, Some(Event::Ended(stream)) if stream == out.stream));
        stderr.write_all(b"more\n").unwrap();
        assert_eq!(rest(&source).await, ["more"]);
    })
    .await;
}

#[tokio::test]
async fn an_app_that_writes_more_than_there_is_room_for_never_waits() {
    local(async {
        let (source, mut stdout, _stderr) =
            source(&Board::default(), &Budget::new(100_000), DropPolicy::Oldest);
        let wrote = client(move || {
            (0..200_000).for_each(|number| writeln!(stdout, "line {number:06}").unwrap());
        });
        wrote.await;
        let seen = || source.status().records + source.status().dropped_records;
        until("all lines", || seen() == 200_000).await;
        let kept = source.status().records;
        assert!(kept > 0 && source.status().dropped_records > 100_000, "{:?}", source.status());
        let found = rest(&source).await;
        assert_eq!(found.len() as u64, kept);
        assert_eq!(found.last().unwrap(), "line 199999");
        assert_eq!(source.status().dropped_bytes, source.status().dropped_records * 11);
    })
    .await;
}

#[tokio::test]
async fn a_line_is_tied_to_the_request_that_alone_was_served() {
    local(async {
        let board = Board::default();
        let (source, mut stdout, _stderr) =
            source(&board, &Budget::new(1 << 20), DropPolicy::Newest);
        let worker = board.exchanges.worker();
        let ids = |span| ExchangeIds { trace: 5 << 64 | u128::from(span), span };
        // Nobody knows what happened before there was a look that is old enough.
        stdout.write_all(b"too early\n").unwrap();
        assert_eq!(chunk(&source).await.trace, None);
        let mut span = 0;
        let tied = loop {
            span += 1;
            worker.began(ids(span));
            stdout.write_all(b"line\n").unwrap();
            let trace = chunk(&source).await.trace;
            worker.ended(ids(span));
            // Requests that follow each other closely are not told apart.
            tokio::time::sleep(super::super::windows::Windows::settles_in() * 2).await;
            if let Some(trace) = trace {
                break trace;
            }
            assert!(span < 20);
        };
        assert_eq!((tied.span, tied.origin), (span, TraceOrigin::OnlyRequest));
        assert_eq!(tied.trace, ids(span).trace);
        let both = [ids(101), ids(102)];
        both.iter().for_each(|ids| worker.began(*ids));
        stdout.write_all(b"of either\n").unwrap();
        assert_eq!(chunk(&source).await.trace, None);
    })
    .await;
}
