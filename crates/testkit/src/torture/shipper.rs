//! The Pillion that is tortured: killed, started again on the same state, and what each kill may
//! cost.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::Torture;
use super::receiver::Receiver;
use crate::{Signal, send_signal};

/// What it may hold in memory, in bytes.
const MEMORY: u64 = 16 << 20;
/// Positions, and what the disk buffer knows to be delivered, are written every second, on another
/// thread; what was confirmed in this time before a kill may not be written down.
const WRITTEN_DOWN: Duration = Duration::from_secs(3);

/// The program under test.
pub(super) struct Shipper {
    program: PathBuf,
    config: PathBuf,
    said: PathBuf,
    sinks: [Arc<Receiver>; 2],
    running: Option<Child>,
    pub(super) kills: u64,
    pub(super) terminations: u64,
    /// For each sink: lines that may come again because of the kills so far.
    pub(super) windows: [u64; 2],
    /// Ends that nobody asked for, and how they were.
    pub(super) crashes: Vec<String>,
}

impl Shipper {
    pub(super) fn new(
        torture: &Torture,
        folder: &Path,
        loki: &Arc<Receiver>,
        http: &Arc<Receiver>,
    ) -> Self {
        let config = folder.join("pillion.yaml");
        let folder_name = folder.display();
        let sink = "compress: none, timeout: 500ms, retry: {min: 20ms, max: 300ms}, \
                    batch: {bytes: 256KiB, wait: 200ms}";
        let text = format!(
            "inbound: {{listen: off}}\noutbound: {{listen: off}}\nadmin: {{listen: off}}\n\
             drain: {{timeout: 2s}}\nlogs:\n  state: {folder_name}/state\n  memory: {MEMORY}B\n  sources: {{files: {{files: \
             \"{folder_name}/logs/*.log\", parse: json}}}}\n  sinks:\n    loki: {{to: \"loki://{}\", \
             labels: {{file: attributes.file}}, {sink}}}\n    http: {{to: \"http://{}/\", {sink}}}\n",
            loki.address(),
            http.address(),
        );
        std::fs::write(&config, text).unwrap();
        Self {
            program: torture.program.clone(),
            config,
            said: folder.join("said"),
            sinks: [loki.clone(), http.clone()],
            running: None,
            kills: 0,
            terminations: 0,
            windows: [0; 2],
            crashes: Vec::new(),
        }
    }

    pub(super) fn start(&mut self) {
        let said = std::fs::File::options().append(true).create(true).open(&self.said).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(&self.config);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
        self.running = Some(child.unwrap());
    }

    /// SIGKILL. What was sent and not written down as delivered comes again.
    pub(super) fn kill(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        self.note_crash(&mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
        let memory = self.sinks.iter().map(|sink| sink.books().bytes_of_line()).min().unwrap_or(0);
        // All that memory can hold of one sink may be delivered already at the other one.
        let held = MEMORY.checked_div(memory).unwrap_or(0);
        for (window, sink) in self.windows.iter_mut().zip(&self.sinks) {
            *window += held + sink.books().confirmed_within(WRITTEN_DOWN);
        }
    }

    /// SIGTERM: it drains, so that nothing comes again.
    pub(super) fn terminate(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        self.note_crash(&mut child);
        send_signal(child.id(), Signal::SIGTERM);
        let patience = Duration::from_secs(60);
        crate::patience::some_within(patience, "the end", || child.try_wait().unwrap());
        self.terminations += 1;
    }

    /// The end of the run.
    pub(super) fn end(&mut self) {
        self.terminate();
        self.terminations -= 1;
    }

    /// What it said, all its lives together.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    fn note_crash(&mut self, child: &mut Child) {
        if let Some(status) = child.try_wait().unwrap() {
            self.crashes.push(status.to_string());
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
