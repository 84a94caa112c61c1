//! The process among others: a service manager, supervisors that repeat themselves, an app that is
//! not ready yet, fails, or needs the way out until its last moment.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pillion_testkit::{
    Builder, Gate, Origin, Pillion, Signal, eventually, eventually_some, is_alive, python,
    send_signal,
};
use serde_json::Value;

use crate::{get, in_front_of, inbound_to, peer, pillion};

fn beside_shell(script: &str) -> Builder {
    pillion().app(["sh", "-c", script])
}

fn server_info(pillion: &Pillion) -> Value {
    serde_json::from_str(&pillion.admin.get("/server_info").1).unwrap()
}

fn app_pid(pillion: &Pillion) -> Option<u32> {
    server_info(pillion)["app"]["pid"].as_u64()?.try_into().ok()
}

#[test]
fn the_service_manager_hears_of_each_step() {
    let origin = Origin::saying("hello");
    let builder = pillion();
    let path = builder.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(pillion_testkit::PATIENCE)).unwrap();
    let heard = |wanted: &str| {
        eventually_some(("a message with", wanted), || {
            let mut buffer = [0; 512];
            let length = manager.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.contains(wanted).then_some(text)
        })
    };
    let mut pillion = builder
        .config(inbound_to(origin.address()))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000")
        .start();
    heard("READY=1");
    heard("WATCHDOG=1");
    pillion.signal(Signal::SIGHUP);
    heard("RELOADING=1");
    heard("READY=1");
    pillion.signal(Signal::SIGTERM);
    assert!(heard("STOPPING=1").contains("SIGTERM"));
    assert_eq!(pillion.wait().code(), Some(0));
}

#[test]
fn a_sidecar_waits_for_the_path_on_which_the_app_says_that_it_is_ready() {
    let ready = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&ready);
    let app = Origin::start(move |mut conn| {
        if let Some((head, _)) = conn.request() {
            let missing = head.line.contains("/healthz") && !says.load(Ordering::SeqCst);
            let status = if missing { "503 Not Yet" } else { "200 OK" };
            conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let port = app.address().port().to_string();
    let config = "app: {ready: /healthz}\n";
    let pillion =
        beside_shell("exec sleep 1000").config(config).arg("--app-port").arg(port).start();
    eventually("it says what it waits for", || {
        let (status, text) = pillion.admin.get("/ready");
        status == 503 && text.contains("app.ready")
    });
    let (status, text) = pillion.admin.get("/app/ready");
    assert!(status == 503 && text.contains("/healthz"), "{status} {text}");
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!(response.status, 200, "requests are carried as soon as the port is open");
    ready.store(true, Ordering::SeqCst);
    eventually("it is ready", || pillion.admin.get("/ready").0 == 200);
    assert_eq!(pillion.admin.get("/app/ready").0, 200);
}

#[test]
fn the_apps_own_readiness_does_not_depend_on_the_sidecars() {
    let app = Origin::saying("hello");
    let port = app.address().port().to_string();
    let pillion = beside_shell("exec sleep 1000").arg("--app-port").arg(port).start_ready();
    pillion.admin.post("/healthcheck/fail");
    assert_eq!(pillion.admin.get("/ready").0, 503);
    assert_eq!(pillion.admin.get("/app/ready").0, 200);
    pillion.admin.post("/healthcheck/ok");
    assert_eq!(pillion.admin.get("/ready").0, 200);
    pillion.admin.post("/drain");
    assert_eq!(pillion.admin.get("/app/ready").0, 200);
    pillion.admin.post("/healthcheck/ok");
    assert_eq!(pillion.admin.get("/ready").0, 503, "a drain is not taken back");
}

#[test]
fn without_a_way_in_nobody_waits_for_a_port() {
    let pillion = beside_shell("exec sleep 1000").arg("--inbound").arg("off");
    assert_eq!(pillion.start_ready().metric("pillion_ready"), 1.0);
}

#[test]
fn an_app_that_is_started_again_is_found_again() {
    let app = [python(), peer("app.py")];
    let config = "app: {restart: on-failure, restart_backoff: 1ms}\n";
    let pillion = pillion().app(app).config(config).start_ready();
    let first = app_pid(&pillion).unwrap();
    send_signal(first, Signal::SIGKILL);
    eventually("another process is the app", || app_pid(&pillion).is_some_and(|pid| pid != first));
    eventually("it is ready again", || pillion.admin.get("/ready").0 == 200);
    let response = pillion.connect_inbound().send(get("/")).response();
    assert_eq!(response.text(), "hello from the app");
    assert_eq!(pillion.metric("pillion_app_restarts_total"), 1.0);
}

#[test]
fn an_end_while_the_app_waits_for_its_restart_is_an_end() {
    let config = "app: {restart: on-failure, restart_backoff: 1h}\n";
    let mut pillion = beside_shell("exit 3").config(config).start();
    pillion.stderr.wait_for("started again");
    pillion.signal(Signal::SIGTERM);
    assert_eq!(pillion.wait().code(), Some(3));
}

#[test]
fn the_way_out_works_until_the_app_has_ended() {
    let origin = Origin::saying("last words");
    let builder = pillion();
    let ready = builder.folder().join("ready.json");
    let script = "\
import http.client, json, signal, sys
def stop(*_):
    address = json.load(open(sys.argv[1]))['outbound']
    connection = http.client.HTTPConnection(address)
    connection.request('GET', sys.argv[2])
    sys.exit(10 if connection.getresponse().read() == b'last words' else 11)
signal.signal(signal.SIGTERM, stop)
print('waiting', flush=True)
while True:
    signal.pause()
";
    let url = format!("http://{}/", origin.address());
    let program = python();
    let app =
        [program.as_os_str(), "-c".as_ref(), script.as_ref(), ready.as_os_str(), url.as_ref()];
    let mut pillion = builder.app(app).start();
    pillion.stdout.wait_for("waiting");
    pillion.signal(Signal::SIGTERM);
    let finished = pillion.wait();
    assert_eq!(finished.code(), Some(10), "{}", finished.stderr);
}

#[test]
fn a_sigterm_to_the_process_and_at_once_to_its_group_is_one() {
    let script = "trap 'exit 9' TERM; echo trapped; while :; do sleep 0.01; done";
    let mut pillion = beside_shell(script).start();
    pillion.stdout.wait_for("trapped");
    pillion.signal(Signal::SIGTERM);
    pillion.signal(Signal::SIGTERM);
    let finished = pillion.wait();
    assert_eq!(finished.code(), Some(9), "{}", finished.stderr);
}

#[test]
fn a_second_signal_does_not_wait_for_what_is_in_flight() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |mut conn| {
        conn.request();
        held.open();
        conn.wait_for_end();
    });
    let mut pillion = in_front_of(origin.address());
    let mut wire = pillion.connect_inbound();
    wire.send(get("/"));
    gate.wait();
    pillion.signal(Signal::SIGTERM);
    eventually("it drains", || pillion.admin.get("/ready").1.contains("draining"));
    pillion.signal(Signal::SIGINT);
    assert_eq!(pillion.wait().code(), Some(130));
}

#[test]
fn quit_ends_the_app_too() {
    let mut pillion = beside_shell("echo started; exec sleep 1000").start();
    pillion.stdout.wait_for("started");
    let app = eventually_some("the app's process", || app_pid(&pillion));
    assert_eq!(pillion.admin.post("/quit").0, 200);
    assert_eq!(pillion.wait().code(), Some(143));
    assert!(!is_alive(app));
}

#[test]
fn reloads_are_counted_by_what_came_of_them() {
    let origin = Origin::saying("hello");
    let pillion = in_front_of(origin.address());
    let outcomes = Mutex::new(Vec::new());
    let reload = |text: &str| {
        pillion.write_config(text);
        outcomes.lock().unwrap().push(pillion.admin.post("/reload"));
        pillion.metric("pillion_config_last_reload_success")
    };
    assert_eq!(reload("limits: {connections: none}\n"), 0.0);
    assert_eq!(reload(&inbound_to(origin.address())), 1.0);
    assert_eq!(reload("limits: {connections: 7}\n"), 1.0);
    let outcomes = outcomes.into_inner().unwrap();
    let words: Vec<&str> =
        outcomes.iter().filter_map(|(_, text)| text.split([',', '\n']).next()).collect();
    // The file watch reads the same changes, and may have applied the last one first.
    assert!(matches!(words[..], ["refused", "unchanged", "applied" | "unchanged"]), "{words:?}");
    for result in ["refused", "unchanged", "applied"] {
        let query = format!("pillion_config_reloads_total{{result=\"{result}\"}}");
        assert!(pillion.metric(&query) >= 1.0, "{query}");
    }
    let page = pillion.admin.get("/config").1;
    assert!(page.contains("connections: 7") && page.contains("last reload"), "{page}");
}
