//! The app is supervised for real: what it sees, how it ends, and that nothing of it stays.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::host::{Host, NEVER, command};

#[test]
fn the_exit_code_is_the_apps_own() {
    let table = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        // A real-time signal, which has no name.
        ("kill -40 $$", 168),
    ];
    for (script, code) in table {
        assert_eq!(Host::script(NEVER, script).end(), Some(code), "{script}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("plain"), "text").unwrap();
    fs::write(path("script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let table = [
        ("no-such-program", 127, "not found in PATH"),
        (&path("missing"), 127, "no such file"),
        (&path("script"), 127, "interpreter"),
        (&path("plain/below"), 127, "no such file"),
        (&path("plain"), 126, "not executable (Permission denied"),
        (&path("folder"), 126, "not executable (Permission denied"),
        ("", 2, "empty"),
    ];
    for (program, code, text) in table {
        let mut host = Host::spawn(command(["run", NEVER, "1", program]));
        assert_eq!(host.end(), Some(code), "{program}: {}", host.said);
        assert!(host.said.contains(text), "{program}: {}", host.said);
        assert!(host.said.contains(program), "{program}: {}", host.said);
    }
}

#[test]
fn captured_outputs_are_read_by_us_and_the_environment_has_what_we_add() {
    let script = "echo out $TOKEN; echo err >&2; exit 3";
    let mut host = Host::spawn(command(["capture", "TOKEN=a=b c", "sh", "-c", script]));
    assert_eq!(host.end(), Some(3), "{}", host.said);
    assert_eq!(host.said, "stdout: out a=b c\nstderr: err\nhost: the app ended with code 3\n");
}

/// What `app` prints when the host runs it, and when it runs alone.
fn with_and_without(app: &[&str]) -> (String, String) {
    let mut host = Host::run(NEVER, app);
    assert_eq!(host.end(), Some(0), "{}", host.said);
    let lines = host.said.lines().filter(|line| !line.starts_with("host: "));
    let with = lines.map(|line| format!("{line}\n")).collect();
    let alone = Command::new(app[0]).args(&app[1..]).stdin(Stdio::null()).output().unwrap();
    (with, String::from_utf8(alone.stdout).unwrap())
}

#[test]
fn the_app_sees_what_it_would_see_without_us() {
    let table: [&[&str]; 5] = [
        // No descriptor of ours.
        &["ls", "/proc/self/fd"],
        // No signal blocked or ignored.
        &["grep", "^Sig[BI]", "/proc/self/status"],
        // The same process group, session and terminal.
        &["sh", "-c", "cut -d' ' -f5-8 /proc/$$/stat"],
        // The same limits.
        &["sh", "-c", "ulimit -a"],
        &["sh", "-c", "pwd; umask; env | grep -v ^_= | sort"],
    ];
    for app in table {
        let (with, without) = with_and_without(app);
        assert_eq!(with, without, "{app:?}");
    }
}

#[test]
fn what_the_parent_ignores_the_app_ignores() {
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    nohup.arg(command([""]).get_program());
    nohup.args(["run", NEVER, "1", "grep", "^SigIgn", "/proc/self/status"]);
    let mut host = Host::spawn(nohup);
    let line = host.wait_for("SigIgn:");
    // SIGHUP is the lowest bit.
    let ignored = u64::from_str_radix(line.trim_start_matches("SigIgn:\t"), 16).unwrap();
    assert_eq!(ignored & 1, 1, "{line}");
    assert_eq!(host.end(), Some(0));
}

#[test]
fn the_app_does_not_speak_to_the_service_manager_in_our_name() {
    let mut command = command(["run", NEVER, "1", "env"]);
    command.env("NOTIFY_SOCKET", "/run/notify").env("WATCHDOG_USEC", "1").env("LISTEN_FDS", "1");
    command.env("KEPT", "yes");
    let mut host = Host::spawn(command);
    assert_eq!(host.end(), Some(0));
    assert!(host.said.contains("KEPT=yes"), "{}", host.said);
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
        assert!(!host.said.contains(name), "{}", host.said);
    }
}

#[test]
fn standard_input_is_the_apps_own() {
    let mut host = Host::run(NEVER, &["cat"]);
    host.say("hello");
    host.wait_for("hello");
    host.close_stdin();
    assert_eq!(host.end(), Some(0));
}

#[test]
fn the_app_is_asked_to_end_and_its_answer_counts() {
    let mut host = Host::script(NEVER, "trap 'exit 3' TERM; echo ready; read line");
    host.wait_for("ready");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(3), "{}", host.said);
}

#[test]
fn an_app_that_does_not_listen_is_killed_when_its_time_is_up() {
    let mut host = Host::script("50", "trap '' TERM; echo ready; while :; do read line; done");
    host.wait_for("ready");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(137), "{}", host.said);
}

#[test]
fn an_app_that_was_never_started_can_be_stopped() {
    let mut host = Host::spawn(command(["run", NEVER, "0", "true"]));
    assert_eq!(host.end(), Some(0), "{}", host.said);
    assert!(host.said.contains("nothing is left"), "{}", host.said);
}

#[test]
fn a_stopped_app_hears_that_it_is_to_end() {
    let mut host = Host::script(NEVER, "trap 'exit 3' TERM; echo ready; kill -STOP $$; read line");
    host.wait_for("ready");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(3), "{}", host.said);
}

#[test]
fn a_second_signal_forces_the_end() {
    let mut host = Host::script(NEVER, "trap '' TERM; echo ready; while :; do read line; done");
    host.wait_for("ready");
    host.signal(Signal::SIGTERM);
    host.wait_for("host: SIGTERM terminal false");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(137), "{}", host.said);
}

#[test]
fn signals_of_the_app_are_sent_on() {
    let script = "for s in USR1 USR2 QUIT; do trap \"echo got $s\" $s; done; trap 'exit 3' TERM; \
                  echo ready; while :; do sleep 0.05; done";
    let mut host = Host::script(NEVER, script);
    host.wait_for("ready");
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGQUIT] {
        host.signal(signal);
        host.wait_for(&signal.as_str().replace("SIG", "got "));
    }
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(3), "{}", host.said);
}

/// A daemon in a session of its own, whose parent has ended.
const DAEMON: &str = "(setsid sh -c 'echo daemon; exec sleep 1000' &)";

#[test]
fn a_daemon_ends_with_the_app_that_left_it() {
    let mut host = Host::script(NEVER, &format!("{DAEMON}; read line; exit 5"));
    host.wait_for("daemon");
    host.say("");
    assert_eq!(host.end(), Some(5), "{}", host.said);
}

#[test]
fn what_a_wrapper_leaves_behind_is_asked_before_it_is_killed() {
    let worker = "sh -c 'trap \"echo asked; exit\" TERM; echo ready; while :; do sleep 0.1; done'";
    let mut host = Host::script(NEVER, &format!("{worker} & exec sleep 1000"));
    host.wait_for("ready");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.end(), Some(143), "{}", host.said);
    assert!(host.said.contains("asked"), "{}", host.said);
}

#[test]
fn when_we_are_killed_nothing_is_left() {
    let script = format!("trap '' TERM; {DAEMON}; (sleep 1000 &); sleep 1000 & read line");
    let mut host = Host::script("50", &script);
    host.wait_for("daemon");
    host.signal(Signal::SIGKILL);
    assert_eq!(host.end(), None);
}

#[test]
fn when_we_are_killed_the_app_may_end_in_order() {
    let mut host = Host::script(NEVER, "trap 'echo in order; exit' TERM; echo ready; read line");
    host.wait_for("ready");
    host.signal(Signal::SIGKILL);
    assert_eq!(host.end(), None);
    assert!(host.said.contains("in order"), "{}", host.said);
}

#[test]
fn when_the_keeper_is_killed_the_app_is_ended_and_we_say_so() {
    let script = format!("trap '' TERM; {DAEMON}; (sleep 1000 &); sleep 1000 & read line");
    let mut host = Host::script("50", &script);
    host.wait_for("daemon");
    host.signal_keeper(Signal::SIGKILL);
    assert_eq!(host.end(), Some(125), "{}", host.said);
    assert!(host.said.contains("its keeper process died"), "{}", host.said);
}

#[test]
fn when_both_are_killed_the_app_is_killed_too() {
    let mut host = Host::script(NEVER, "trap '' TERM; echo ready; while :; do read line; done");
    host.wait_for("ready");
    host.signal(Signal::SIGKILL);
    host.signal_keeper(Signal::SIGKILL);
    assert_eq!(host.end(), None);
}

#[test]
fn the_keeper_survives_what_is_sent_to_the_whole_group() {
    let mut host = Host::script(NEVER, "echo ready; read line; exit 4");
    host.wait_for("ready");
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGQUIT] {
        host.signal_keeper(signal);
    }
    host.say("");
    assert_eq!(host.end(), Some(4), "{}", host.said);
}

#[test]
fn an_app_is_started_again_without_what_it_left_behind() {
    let script = format!("{DAEMON}; read line");
    let mut host = Host::spawn(command(["run", NEVER, "3", "sh", "-c", &script]));
    for _ in 0..3 {
        let line = host.wait_for("host: keeper ");
        let keeper: i32 = line.split(' ').nth(2).unwrap().parse().unwrap();
        host.wait_for("daemon");
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
        // The app and one daemon.
        assert_eq!(children.unwrap().split_whitespace().count(), 2);
        host.say("");
        host.wait_for("host: the app ended with code 0");
    }
    assert_eq!(host.end(), Some(0), "{}", host.said);
}

#[test]
fn a_stop_that_is_asked_for_twice_does_not_keep_the_app_from_its_next_start() {
    let mut host = Host::spawn(command(["again", "3", "sleep", "1000"]));
    assert_eq!(host.end(), Some(0), "{}", host.said);
}

#[test]
fn ctrl_c_comes_to_the_app_once_and_from_the_terminal() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let script = "trap 'echo got INT' INT; trap 'exit 3' TERM; echo ready; \
                  while :; do sleep 0.1; done";
    let ours = command(["run", NEVER, "1", "sh", "-c", script]);
    let slave = || Stdio::from(OwnedFd::try_clone(&terminal.slave).unwrap());
    // Makes the terminal the controlling one of a new session.
    let mut child = Command::new("setsid")
        .arg("--ctty")
        .arg(ours.get_program())
        .args(ours.get_args())
        .stdin(slave())
        .stdout(slave())
        .spawn()
        .unwrap();
    let mut screen = fs::File::from(terminal.master);
    let mut said = String::new();
    let mut read_until = |screen: &mut fs::File, text: &str| {
        while !said.contains(text) {
            let mut buffer = [0; 512];
            let length = screen.read(&mut buffer).unwrap();
            said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        said.clone()
    };
    read_until(&mut screen, "ready");
    screen.write_all(b"\x03").unwrap();
    read_until(&mut screen, "host: SIGINT terminal true");
    let said = read_until(&mut screen, "nothing is left");
    assert_eq!(child.wait().unwrap().code(), Some(3), "{said}");
    assert_eq!(said.matches("got INT").count(), 1, "{said}");
}
