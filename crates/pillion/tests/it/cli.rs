//! The commands for people: check, explain, schema, proxy.

use std::path::PathBuf;
use std::process::{Command, Output};

use pillion_testkit::{Origin, Signal, Wire, eventually_some, send_signal};
use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pillion")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A configuration file with this text; the folder goes with the first of the two.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pillion.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn check_names_every_problem_with_its_place_and_a_remedy() {
    let (_folder, path) = file(
        "inbound:\n  lisen: 127.0.0.1:1\n  routes:\n  - upstream: nowhere\n\
         app:\n  port: 70000\nlimits:\n  head_bytes: lots\n",
    );
    let name = path.to_str().unwrap();
    let output = run(&["check", name]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output) + &stderr(&output);
    for (line, words) in [
        (2, ["lisen", "listen"]),
        (4, ["nowhere", "upstream"]),
        (6, ["70000", "65535"]),
        (8, ["lots", "head_bytes"]),
    ] {
        assert!(text.contains(&format!("{name}:{line}:")), "line {line}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    }
}

#[test]
fn check_is_content_with_a_good_file() {
    let (_folder, path) = file("upstreams: {a: {endpoints: [\"127.0.0.1:80\"]}}\n");
    let output = run(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn check_tells_programs_in_json() {
    let (_folder, path) = file("limits:\n  head_bytes: lots\n");
    let output = run(&["check", "--json", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = told.to_string();
    assert!(text.contains("\"line\":2") && text.contains("limits.head_bytes"), "{text}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let text = stdout(&run(&["completions", shell]));
        assert!(text.contains("explain") && text.contains("ready-file"), "{shell}");
    }
}

#[test]
fn check_names_a_file_that_is_not_there() {
    let output = run(&["check", "/no/such/file.yaml"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("/no/such/file.yaml"), "{}", stderr(&output));
}

#[test]
fn explain_shows_every_default_and_its_output_is_a_configuration() {
    let (_folder, path) = file("upstreams: {a: {endpoints: [\"127.0.0.1:80\"]}}\n");
    let output = run(&["explain", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for key in ["head_bytes", "connect_timeout", "retry_percent", "stop_timeout", "least_request"] {
        assert!(text.contains(key), "{key} in {text}");
    }
    let (_folder, again) = file(&text);
    let second = run(&["explain", again.to_str().unwrap()]);
    // What was a default is now written down, and is no longer marked as one.
    let written = text.replace("  # default", "");
    assert_eq!(stdout(&second), written, "{}", stderr(&second));
}

#[test]
fn schema_is_a_json_schema_that_knows_the_keys() {
    let output = run(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].as_str().is_some_and(|url| url.contains("json-schema.org")));
    let keys = schema["properties"].as_object().unwrap();
    for key in ["app", "inbound", "outbound", "upstreams", "admin", "limits", "drain"] {
        assert!(keys.contains_key(key), "{key}");
    }
    let description = schema["properties"]["upstreams"]["description"].as_str();
    assert!(description.is_some_and(|text| text.contains("endpoints")), "{description:?}");
}

#[test]
fn a_wrong_command_line_is_explained() {
    let output = run(&["run", "--no-such-option"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--no-such-option"));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    let help = stdout(&run(&["run", "--help"]));
    for option in ["--inbound", "--outbound", "--admin", "--app-port", "--config"] {
        assert!(help.contains(option), "{option} in {help}");
    }
}

#[test]
fn a_bad_configuration_does_not_start_and_says_why() {
    let (_folder, path) = file("nonsense: 1\n");
    let output = run(&["run", "--config", path.to_str().unwrap(), "--", "echo", "started"]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("nonsense") && text.contains(":1:"), "{text}");
    assert_eq!(stdout(&output), "", "the app was not started");
}

#[test]
fn proxy_forwards_to_one_upstream() {
    let origin = Origin::saying("hello");
    let url = format!("http://{}", origin.address());
    let as_argument: &[&str] = &["--upstream", &url];
    for (arguments, variable) in [(as_argument, None), (&[], Some(&url))] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion"));
        command.args(["proxy", "--listen", "127.0.0.1:0"]).args(arguments);
        let folder = TempDir::new().unwrap();
        let ready = folder.path().join("ready.json");
        command.arg("--ready-file").arg(&ready);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        if let Some(url) = variable {
            command.env("UPSTREAM_URL", url);
        }
        let mut child = command.spawn().unwrap();
        let text = eventually_some("the ready file", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was ready");
            std::fs::read_to_string(&ready).ok()
        });
        let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
        let address = ["inbound", "outbound"].iter().find_map(|key| ready[key].as_str());
        let mut wire = Wire::connect(address.unwrap().parse().unwrap());
        assert_eq!(wire.send(crate::get("/")).response().text(), "hello");
        send_signal(child.id(), Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
    }
}
