//! Life beside an app: start, find, pass through, stop, and never leave anything behind.

use std::os::unix::fs::PermissionsExt;

use pillion_testkit::{
    Builder, Capture, Gate, Origin, Pillion, Signal, eventually, eventually_some, is_alive,
    peak_memory_kib, python, resident_memory_kib, send_signal,
};

use crate::{get, in_front_of, inbound_to, peer, pillion};

/// Pillion with a command of the shell as its app.
fn beside_shell(script: &str) -> Builder {
    pillion().app(["sh", "-c", script])
}

/// Pillion with the Python app.
fn beside_app(arguments: &[&str]) -> Builder {
    let (python, script) = (python(), peer("app.py"));
    let words = [python.as_os_str(), script.as_os_str()];
    let arguments = arguments.iter().map(std::ffi::OsStr::new);
    pillion().app(words.into_iter().chain(arguments))
}

/// Waits for a line `KEY NUMBER` of the app, and returns the number.
fn number(output: &Capture, key: &str) -> u32 {
    eventually_some(("a line of the app with", key), || {
        let text = output.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    })
}

fn hello(pillion: &Pillion) -> String {
    pillion.connect_inbound().send(get("/hello")).response().text()
}

#[test]
fn it_ends_with_the_exit_code_of_the_app() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)] {
        assert_eq!(beside_shell(script).spawn().wait().code(), Some(code), "{script}");
    }
}

#[test]
fn an_app_that_cannot_be_started_is_named() {
    let builder = pillion();
    let file = builder.folder().join("not-executable");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let finished = builder.app([&file]).spawn().wait();
    assert_eq!(finished.code(), Some(126), "{}", finished.stderr);
    assert!(finished.stderr.contains("not executable"), "{}", finished.stderr);
    let finished = pillion().app(["no-such-program-anywhere"]).spawn().wait();
    assert_eq!(finished.code(), Some(127), "{}", finished.stderr);
    assert!(finished.stderr.contains("no-such-program-anywhere"), "{}", finished.stderr);
}

#[test]
fn standard_input_and_output_are_the_apps_own() {
    let mut pillion = pillion().app(["cat"]).with_stdin().spawn();
    pillion.feed(b"one\ntwo\0three");
    let finished = pillion.wait();
    assert_eq!((finished.code(), finished.stdout.as_str()), (Some(0), "one\ntwo\0three"));
}

#[test]
fn the_environment_and_arguments_are_the_apps_own() {
    let script = "printf '%s|' \"$PILLION_TEST\" \"$@\"";
    let app = ["sh", "-c", script, "sh", "--config", "-x", ""];
    let finished = pillion().env("PILLION_TEST", "a b").app(app).spawn().wait();
    assert_eq!(finished.stdout, "a b|--config|-x||");
}

#[test]
fn the_port_of_the_app_is_found() {
    let pillion = beside_app(&[]).start_ready();
    assert_eq!(hello(&pillion), "hello from the app");
    assert_eq!(pillion.logged("path", "/hello")["upstream"], "app");
}

#[test]
fn code_that_only_the_start_needed_leaves_memory_and_it_serves_on() {
    let pillion = beside_app(&[]).start_ready();
    let pid = pillion.pid();
    eventually("half of the memory", || resident_memory_kib(pid) * 2 < peak_memory_kib(pid));
    assert_eq!(hello(&pillion), "hello from the app");
}

#[test]
fn the_port_of_an_app_that_forks_is_found() {
    let script = format!("{} {} & wait", python().display(), peer("app.py").display());
    let pillion = beside_shell(&script).start_ready();
    assert_eq!(hello(&pillion), "hello from the app");
}

#[test]
fn of_several_ports_the_one_that_speaks_http_is_taken_and_said() {
    let pillion = beside_app(&["--raw"]).start_ready();
    let http = number(&pillion.stdout, "http ");
    assert_eq!(hello(&pillion), "hello from the app");
    pillion.stderr.wait_for(&http.to_string());
}

#[test]
fn a_port_that_is_given_is_not_looked_for() {
    let origin = Origin::saying("hello");
    let port = origin.address().port().to_string();
    let pillion = beside_shell("exec sleep 1000").arg("--app-port").arg(&port).start_ready();
    assert_eq!(hello(&pillion), "hello");
}

#[test]
fn an_app_that_never_listens_is_said_to_while_the_sidecar_lives() {
    let pillion = beside_shell("exec sleep 1000").start();
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!((response.status, response.reason()), (503, Some("app_not_listening")));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(pillion.admin.get("/live").0, 200);
    assert_eq!(pillion.admin.get("/ready").0, 503);
    // The way out does not depend on the way in.
    let origin = Origin::saying("hello");
    let sent = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", origin.address());
    assert_eq!(pillion.connect_outbound().send(sent).response().status, 200);
}

#[test]
fn killing_the_app_ends_pillion() {
    let mut pillion = beside_shell("echo pid $$; exec sleep 1000").start();
    send_signal(number(&pillion.stdout, "pid "), Signal::SIGKILL);
    assert_eq!(pillion.wait().code(), Some(137));
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_then_stops_the_app() {
    let builder = pillion();
    let release = builder.folder().join("release");
    let mut pillion = beside_app(&["--wait", release.to_str().unwrap()]).start_ready();
    let mut wire = pillion.connect_inbound();
    wire.send(get("/slow"));
    pillion.stdout.wait_for("slow began");
    pillion.signal(Signal::SIGTERM);
    eventually("it is not ready any more", || pillion.admin.get("/ready").0 == 503);
    assert!(!pillion.stdout.text().contains("sigterm"), "the app works undisturbed");
    std::fs::write(&release, "").unwrap();
    assert_eq!(wire.response().text(), "slow but complete");
    let finished = pillion.wait();
    let (done, stopped) = (finished.stdout.find("slow done"), finished.stdout.find("sigterm"));
    assert!(done.is_some() && done < stopped, "the app is stopped last: {}", finished.stdout);
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
}

#[test]
fn new_connections_are_not_taken_while_draining() {
    let builder = pillion();
    let release = builder.folder().join("release");
    let mut pillion = beside_app(&["--wait", release.to_str().unwrap()]).start_ready();
    let mut wire = pillion.connect_inbound();
    wire.send(get("/slow"));
    pillion.stdout.wait_for("slow began");
    let address = pillion.inbound();
    assert_eq!(pillion.admin.post("/drain").0 / 100, 2);
    eventually("new connections fail or are refused", || {
        let Ok(tcp) = std::net::TcpStream::connect(address) else { return true };
        let mut stream = pillion_testkit::Stream::new(tcp);
        drop(stream.try_send(get("/hello")));
        stream.try_read_head().map_or(true, |head| head.line.contains(" 503 "))
    });
    std::fs::write(&release, "").unwrap();
    let response = wire.response();
    assert_eq!(response.text(), "slow but complete");
    drop(wire);
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn what_exceeds_the_drain_deadline_is_cut_off() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |mut conn| {
        conn.request();
        held.open();
        conn.wait_for_end();
    });
    let config = format!("{}drain: {{timeout: 200ms}}\n", inbound_to(origin.address()));
    let mut pillion = pillion().config(config).start();
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    gate.wait();
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(0));
    wire.read_to_end();
    pillion.logged("reason", "drain_deadline");
}

#[test]
fn killing_pillion_leaves_no_process_of_the_app() {
    let script = "setsid sleep 1000 & echo child $!; echo pid $$; exec sleep 1001";
    let pillion = beside_shell(script).start();
    let pids = [number(&pillion.stdout, "child "), number(&pillion.stdout, "pid ")];
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    pillion.signal(Signal::SIGKILL);
    for pid in pids {
        eventually(("the end of", pid), || !is_alive(pid));
    }
}

#[test]
fn an_app_that_ignores_sigterm_is_killed_after_its_time() {
    let script = "trap '' TERM; echo pid $$; while :; do sleep 1000; done";
    let mut pillion = beside_shell(script).config("app: {stop_timeout: 200ms}\n").start();
    let app = number(&pillion.stdout, "pid ");
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(137));
    assert!(!is_alive(app));
}

#[test]
fn an_app_that_ends_in_its_own_way_on_sigterm_gives_the_code() {
    let script = "trap 'exit 9' TERM; echo pid $$; while :; do sleep 0.01; done";
    let mut pillion = beside_shell(script).start();
    number(&pillion.stdout, "pid ");
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(9));
}

#[test]
fn a_second_interrupt_forces_the_end() {
    let script = "trap '' TERM INT; echo pid $$; while :; do sleep 1000; done";
    let mut pillion = beside_shell(script).config("app: {stop_timeout: 1h}\n").start();
    let app = number(&pillion.stdout, "pid ");
    pillion.signal(Signal::SIGINT);
    eventually("it drains", || pillion.admin.get("/ready").1.contains("drain"));
    assert!(pillion.is_running());
    pillion.signal(Signal::SIGINT);
    let code = pillion.wait().code();
    assert!(code.is_some_and(|code| code >= 128), "{code:?}");
    eventually("the end of the app", || !is_alive(app));
}

#[test]
fn a_signal_of_the_apps_own_meaning_reaches_the_app() {
    let script = "trap 'echo usr1; exit 4' USR1; echo pid $$; while :; do sleep 0.01; done";
    let mut pillion = beside_shell(script).start();
    number(&pillion.stdout, "pid ");
    pillion.signal(Signal::SIGUSR1);
    let finished = pillion.wait();
    assert_eq!(finished.code(), Some(4));
    assert!(finished.stdout.ends_with("usr1\n"), "{}", finished.stdout);
}

#[test]
fn an_app_that_fails_is_started_again_as_often_as_configured() {
    let builder = pillion();
    let file = builder.folder().join("starts");
    let script = format!("echo x >> {}; exit 3", file.display());
    let config = "app: {restart: on-failure, restart_max: 2, restart_backoff: 1ms}\n";
    let finished = beside_shell(&script).config(config).spawn().wait();
    assert_eq!(finished.code(), Some(3));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\nx\nx\n");
}

#[test]
fn an_app_that_was_started_again_is_found_on_its_new_port() {
    let builder = pillion();
    let mark = builder.folder().join("second");
    let (python, script) = (python(), peer("app.py"));
    let script = format!(
        "test -e {mark} || {{ touch {mark}; exit 1; }}; exec {} {}",
        python.display(),
        script.display(),
        mark = mark.display()
    );
    let config = "app: {restart: on-failure, restart_backoff: 1ms}\n";
    let pillion = beside_shell(&script).config(config).start_ready();
    assert_eq!(hello(&pillion), "hello from the app");
    let first = number(&pillion.stdout, "http ");
    send_signal(number(&pillion.stdout, "pid "), Signal::SIGKILL);
    eventually("a second app on a second port", || {
        let text = pillion.stdout.text();
        text.lines()
            .filter_map(|line| line.strip_prefix("http "))
            .any(|port| port != first.to_string())
    });
    eventually("it is ready again", || pillion.admin.get("/ready").0 == 200);
    assert_eq!(hello(&pillion), "hello from the app");
}

#[test]
fn the_access_log_stays_out_of_the_apps_output() {
    let pillion = beside_app(&[]).config("access_log: {}\n").start_ready();
    hello(&pillion);
    pillion.stderr.wait_for("/hello");
    assert!(!pillion.stdout.text().contains("/hello"), "{}", pillion.stdout.text());
    let origin = Origin::saying("hello");
    let config = format!("{}access_log: {{}}\n", inbound_to(origin.address()));
    let alone = crate::pillion().config(config).start();
    hello(&alone);
    alone.stdout.wait_for("\"path\":\"/hello\"");
}

#[test]
fn without_an_app_it_runs_until_it_is_told_to_end() {
    let origin = Origin::saying("hello");
    let mut pillion = in_front_of(origin.address());
    assert_eq!(pillion.admin.get("/ready").0, 200);
    assert_eq!(hello(&pillion), "hello");
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn a_port_that_is_asked_for_and_taken_is_an_error_that_names_it() {
    let taken = Origin::saying("hello").address();
    let holder = std::net::TcpListener::bind(taken)
        .or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let config = format!("inbound: {{listen: \"{taken}\"}}\n");
    let builder = pillion();
    let file = builder.folder().join("taken.yaml");
    std::fs::write(&file, config).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pillion"))
        .args(["run", "--outbound", "127.0.0.1:0", "--admin"])
        .arg(format!("unix:{}/admin.sock", builder.folder().display()))
        .arg("--config")
        .arg(&file)
        .args(["--", "echo", "the app was started"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(&taken), "{text}");
    assert_eq!(output.stdout, b"", "the sidecar comes first, the app second");
}

#[test]
fn two_sidecars_on_one_machine_find_ports_of_their_own() {
    let run = || {
        let builder = pillion();
        let path = builder.folder().join("ready.json");
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_pillion"))
            .args(["run", "--ready-file"])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let ready = eventually_some("the ready file", || std::fs::read_to_string(&path).ok());
        send_signal(child.id(), Signal::SIGTERM);
        child.wait().unwrap();
        ready
    };
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(run), scope.spawn(run));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert!(one.contains("127.0.0.1:") && two.contains("127.0.0.1:"), "{one} {two}");
}
