//! With the real logrotate, where it is installed; `cargo xtask setup` says how to get it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::reader::{Folder, Reader, files};

/// `{round}` in the options is the number of the rotation: a date that is another one each time.
fn rotate(folder: &Folder, options: &str, round: u32) {
    let options = options.replace("{round}", &round.to_string());
    let (config, state) = (folder.path("logrotate.conf"), folder.path("logrotate.state"));
    let user = if nix::unistd::geteuid().is_root() { "su root root\n" } else { "" };
    let text = format!("{user}{}/app.log {{\nrotate 9\n{options}\n}}\n", folder.root().display());
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new("logrotate");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = command.arg("--force").arg("--state").arg(state).arg(config).output();
    let output = output.expect("logrotate is missing: install the package of that name");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_rotation_is_followed() {
    for options in [
        "create",
        "copytruncate",
        "create\ncompress",
        "create\ncompress\ndelaycompress",
        "copytruncate\ncompress",
        "copytruncate\ncompress\ndelaycompress",
        "create\ncompress\ncompresscmd /usr/bin/zstd\ncompressoptions -q --rm\ncompressext .zst",
        "create\nextension .log",
        "nocreate",
        "create\ndateext\ndateformat -%Y%m%d-{round}",
        "create\ndateext\ndateformat -%Y%m%d-{round}\ncompress",
        "create\ndateext\ndateformat -%Y%m%d-{round}\ncompress\ndelaycompress",
        "create\ndateext\ndateformat -%Y%m%d-{round}\nextension .log",
        "copytruncate\ndateext\ndateformat .%Y-%m-%d.{round}",
        "copytruncate\ndateext\ndateformat -%Y%m%d-{round}\ncompress\ndelaycompress",
    ] {
        for glob in ["*.log", "app*.log*"] {
            let (folder, state) = (Folder::new(), Folder::new());
            let files = files(folder.root(), &[glob]);
            let mut reader = Reader::new(&files, Some(state.root()));
            reader.pump().await;
            let (mut came, mut expected) = (Vec::new(), Vec::new());
            for round in 0..6 {
                let write = |what: &str| {
                    let line = format!("{what} in round {round}");
                    folder.append("app.log", &format!("{line}\n"));
                    line
                };
                expected.push(write("read"));
                reader.pump().await;
                expected.push(write("unread"));
                // Every second rotation happens while we are away.
                if round % 2 == 1 {
                    came.extend(reader.stop().await);
                    rotate(&folder, options, round);
                    reader = Reader::new(&files, Some(state.root()));
                } else {
                    rotate(&folder, options, round);
                }
                expected.push(write("new"));
                reader.pump().await;
            }
            came.extend(reader.stop().await);
            assert_eq!(came, expected, "{options} {glob}");
        }
    }
}
