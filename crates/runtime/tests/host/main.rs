//! The program that the tests supervise with: the smallest one that keeps the rules of `run`, and an
//! app that opens and closes ports as it is told.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of the tests: it fails loudly and talks on stdout"
)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pillion_runtime::signals::{Blocked, Intent, Signals};
use pillion_runtime::supervise::{App, Captured, Exit, Keeper};

/// `host run STOP_MILLIS TIMES COMMAND…`, `host capture NAME=VALUE COMMAND…`, `host again TIMES COMMAND…`
/// or `host listen`.
fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().unwrap().to_str().unwrap() {
        "run" => {
            let mut number = || words.next().unwrap().to_str().unwrap().parse::<u64>().unwrap();
            let (stop_timeout, times) = (Duration::from_millis(number()), number());
            run(stop_timeout, times, words.collect())
        }
        "capture" => {
            let variable = words.next().unwrap().into_string().unwrap();
            capture(variable.split_once('=').unwrap(), words.collect())
        }
        "again" => {
            let times = words.next().unwrap().to_str().unwrap().parse().unwrap();
            again(times, words.collect())
        }
        _ => listen(),
    }
}

/// Starts and stops the app. The keeper finds a further stop and the next start together.
fn again(times: u32, command: Vec<OsString>) -> ExitCode {
    let keeper = Keeper::fork(Duration::ZERO, Captured::default()).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut app = keeper.into_app(command).unwrap();
        let keeper = Pid::from_raw(i32::try_from(app.keeper_pid()).unwrap());
        for _ in 0..times {
            kill(keeper, Signal::SIGSTOP).unwrap();
            app.kill_tree();
            let goes_on = async { kill(keeper, Signal::SIGCONT).unwrap() };
            let (started, ()) = tokio::join!(app.start(), goes_on);
            if let Err(error) = started {
                println!("error: {error}");
                return ExitCode::from(error.exit_code());
            }
            app.stop(Duration::ZERO).await;
        }
        ExitCode::SUCCESS
    })
}

/// Runs the app to its end with one variable more, and shows what came out of its outputs.
fn capture((name, value): (&str, &str), command: Vec<OsString>) -> ExitCode {
    let mut keeper = Keeper::fork(Duration::ZERO, Captured { stdout: true, stderr: true }).unwrap();
    let outputs = keeper.take_outputs();
    let exit =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                let mut app = keeper.into_app(command).unwrap();
                app.set_environment(vec![(name.to_owned(), value.into())]).unwrap();
                app.start().await.unwrap();
                app.exited().await
            },
        );
    for (name, output) in [("stdout", outputs.stdout), ("stderr", outputs.stderr)] {
        let lines = BufReader::new(File::from(output.unwrap())).lines();
        lines.for_each(|line| println!("{name}: {}", line.unwrap()));
    }
    println!("host: the app {exit}");
    ExitCode::from(exit.code())
}

fn run(stop_timeout: Duration, times: u64, command: Vec<OsString>) -> ExitCode {
    let keeper = Keeper::fork(stop_timeout, Captured::default()).unwrap();
    let blocked = Blocked::block().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut signals = blocked.listen().unwrap();
        let mut app = match keeper.into_app(command) {
            Ok(app) => app,
            Err(error) => {
                println!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let mut exit = Exit::Code(0);
        for _ in 0..times {
            match app.start().await {
                Ok(pid) => println!("host: keeper {} app {pid}", app.keeper_pid()),
                Err(error) => {
                    println!("error: {error}");
                    return ExitCode::from(error.exit_code());
                }
            }
            exit = watch_over(&mut app, &mut signals, stop_timeout).await;
            println!("host: the app {exit}");
        }
        app.stop(stop_timeout).await;
        println!("host: nothing is left");
        ExitCode::from(exit.code())
    })
}

async fn watch_over(app: &mut App, signals: &mut Signals, stop_timeout: Duration) -> Exit {
    let mut draining = false;
    loop {
        let ended =
            async { if draining { app.stop(stop_timeout).await } else { app.exited().await } };
        let received = tokio::select! {
            exit = ended => return exit,
            received = signals.next() => received.unwrap(),
        };
        println!("host: {} terminal {}", received.signal, received.from_terminal);
        match received.intent() {
            Intent::Drain { .. } if draining => return app.stop(Duration::ZERO).await,
            Intent::Drain { forward } => {
                draining = true;
                if let Some(signal) = forward {
                    app.signal(signal).unwrap();
                }
            }
            Intent::Forward(signal) => app.signal(signal).unwrap(),
            Intent::Reload | Intent::Nothing => {}
        }
    }
}

/// Reads `http ADDRESS`, `other ADDRESS` and `close PORT`; says `open PORT` and `closed`.
fn listen() -> ExitCode {
    let mut open = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "close" {
            let descriptor: i32 = open.remove(rest).unwrap();
            nix::sys::socket::shutdown(descriptor, nix::sys::socket::Shutdown::Both).unwrap();
            println!("closed");
            continue;
        }
        let answer: &'static [u8] =
            if word == "http" { b"HTTP/1.1 200 OK\r\n\r\n" } else { b"-ERR what?\r\n" };
        let listener = TcpListener::bind(rest).unwrap();
        let port = listener.local_addr().unwrap().port();
        open.insert(port.to_string(), listener.as_raw_fd());
        std::thread::spawn(move || serve(&listener, answer));
        println!("open {port}");
    }
    ExitCode::SUCCESS
}

/// Answers until the listener is shut down.
fn serve(listener: &TcpListener, answer: &[u8]) {
    while let Ok((mut stream, _)) = listener.accept() {
        println!("asked");
        if stream.read(&mut [0; 256]).is_ok() {
            drop(stream.write_all(answer));
        }
    }
}
