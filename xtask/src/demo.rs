//! `cargo xtask demo`: Pillion beside an app that knows nothing of it.

use std::process::Command;
use std::time::Duration;

use crate::child::Running;
use crate::failure::Failure;
use crate::{arguments, http, program, workspace};

const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the demo asks the app for; the last one is not there.
const PATHS: [&str; 4] = ["/", "/README.md", "/Cargo.toml", "/nothing-here"];

/// `cargo xtask demo`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &[])?;
    let pillion = workspace::pillion("dev")?;
    let [app, inbound, outbound, admin] = http::free_ports()?;
    let mut command = Command::new(pillion);
    command.current_dir(workspace::root()).arg("run");
    for (flag, port) in [("--inbound", inbound), ("--outbound", outbound), ("--admin", admin)] {
        command.arg(flag).arg(http::local(port).to_string());
    }
    command.args(["--", "python3", "-m", "http.server", "--bind", "127.0.0.1"]);
    command.arg(app.to_string());

    println!("demo: $ {}", program::line(&command));
    let mut running = Running::start(&mut command, None)?;
    http::wait_ready(&mut running, http::local(admin), "/ready", READY_TIMEOUT)?;
    for path in PATHS {
        let response = http::get(http::local(inbound), path)?;
        println!("demo: GET {path} → {} ({} bytes)", response.status, response.body.len());
    }
    println!("demo: the head of the last response, with what Pillion added:");
    println!("{}", http::get(http::local(inbound), "/")?.head);
    show_metrics(admin)?;
    println!("demo: stopping; Pillion drains, ends the app, then itself");
    running.stop();
    Ok(())
}

/// Prints the counters of requests and Pillion's own cost.
fn show_metrics(admin: u16) -> Result<(), Failure> {
    println!("demo: from http://{}/metrics", http::local(admin));
    let metrics = http::get(http::local(admin), "/metrics")?.body;
    let shown = |line: &&str| {
        !line.starts_with('#') && (line.contains("requests_total") || line.starts_with("process_"))
    };
    for line in metrics.lines().filter(shown) {
        println!("  {line}");
    }
    Ok(())
}
