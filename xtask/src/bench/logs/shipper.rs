//! How each shipper of logs is started, and what it says of its records.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::super::stand::Stand;
use super::super::subject::Subject;
use super::{Input, Pipeline, Sink, input};
use crate::child::Running;
use crate::failure::{Doing, Failure};
use crate::{http, program};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const SHIP_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a shipper is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(50);
const POD_LABELS: &str = "app=\"shop\"\npod-template-hash=\"5d4f8c7b9\"\ntier=\"web\"\n";

/// The program of Fluent Bit.
pub(in crate::bench) struct FluentBit(pub(in crate::bench) PathBuf);

impl FluentBit {
    /// What `FLUENT_BIT` names, else `fluent-bit`; `None`: there is none on this machine.
    pub(in crate::bench) fn find() -> Result<Option<Self>, Failure> {
        let Some(named) = std::env::var_os("FLUENT_BIT").map(PathBuf::from) else {
            return Ok(program::find("fluent-bit").map(Self));
        };
        if named.is_file() {
            return Ok(Some(Self(named)));
        }
        Err(Failure::new(format!("FLUENT_BIT: there is no {}", named.display())))
    }
}

/// Who ships what where to.
pub(super) struct Shipper<'a> {
    pub(super) stand: &'a Stand,
    pub(super) subject: Subject,
    pub(super) pipeline: Pipeline,
    pub(super) sink: Sink,
}

/// A shipper at work.
pub(super) struct Shipping<'a> {
    shipper: &'a Shipper<'a>,
    /// When it could see its files.
    pub(super) began: Instant,
    running: Running,
    admin: u16,
    /// Records that have arrived, as far as was asked.
    count: u64,
}

impl Shipper<'_> {
    /// The folder whose files are shipped, empty.
    pub(super) fn empty_folder(&self) -> Result<PathBuf, Failure> {
        self.stand.empty_folder("logs-in")
    }

    /// Starts it; `place` puts the files into the folder.
    ///
    /// Pillion gets them when its secrets are there, so that each has to be found in every line.
    /// Fluent Bit gets them before its start, because it reads what appears later in small steps
    /// with long waits between them.
    pub(super) fn start(
        &self,
        place: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Shipping<'_>, Failure> {
        let Self { stand, subject, .. } = *self;
        let [admin] = http::free_ports()?;
        let mut command = self.command(admin)?;
        let start = |command| stand.start(subject, command);
        let (running, began) = if subject == Subject::Pillion {
            let mut running = start(&mut command)?;
            http::wait_ready(&mut running, http::local(admin), "/ready", READY_TIMEOUT)
                .map_err(|failure| stand.with_complaint(subject, &failure))?;
            let began = Instant::now();
            place()?;
            (running, began)
        } else {
            place()?;
            let began = Instant::now();
            (start(&mut command)?, began)
        };
        Ok(Shipping { shipper: self, began, running, admin, count: 0 })
    }

    fn command(&self, admin: u16) -> Result<Command, Failure> {
        match self.subject {
            Subject::Pillion => self.pillion(admin),
            Subject::FluentBit => self.fluent_bit(admin),
            other => Err(other.cannot("ship logs")),
        }
    }

    fn pillion(&self, admin: u16) -> Result<Command, Failure> {
        let stand = self.stand;
        let labels = stand.empty_folder("podinfo")?.join("labels");
        std::fs::write(&labels, POD_LABELS).doing(format!("writing {}", labels.display()))?;
        let sink = match self.sink {
            Sink::Null => "to: \"null:\"".to_owned(),
            Sink::Http { compress } => {
                let address = stand.receiver()?.address;
                let compress = if compress { "zstd" } else { "none" };
                format!("to: \"http://{address}/logs\", compress: {compress}")
            }
        };
        let mut values = self.values(admin);
        values.push(("SINK", sink));
        if self.pipeline == Pipeline::CriJson {
            let openbao = stand.openbao()?;
            let secrets = input::secrets().map(|(name, value)| (name, Value::String(value)));
            openbao.put("logs", &Value::Object(secrets.collect::<Map<_, _>>()))?;
            values.push(("OPENBAO", openbao.url()));
            values.push(("TOKEN_FILE", openbao.token_file().display().to_string()));
        }
        let text = include_str!("../../../../bench/pillion-logs.yaml");
        let config = stand.write_config("pillion-logs.yaml", text, &values, self.parses())?;
        let mut command = Command::new(stand.pillion());
        command.args(["run", "--config"]).arg(config);
        Ok(command)
    }

    fn fluent_bit(&self, admin: u16) -> Result<Command, Failure> {
        let Some(FluentBit(program)) = FluentBit::find()? else {
            return Err(Failure::new("there is no Fluent Bit"));
        };
        let output = match self.sink {
            Sink::Null => "    Name null".to_owned(),
            Sink::Http { compress } => {
                let address = self.stand.receiver()?.address;
                let (host, port) = (address.ip(), address.port());
                let compress = if compress { "\n    compress zstd" } else { "" };
                format!(
                    "    Name http\n    Host {host}\n    Port {port}\n    URI /logs\n    \
                     Format json_lines{compress}"
                )
            }
        };
        let parsers = include_str!("../../../../bench/fluent-bit-parsers.conf");
        self.stand.write_config("fluent-bit-parsers.conf", parsers, &[], 0)?;
        let mut values = self.values(admin);
        values.push(("OUTPUT", output));
        let text = include_str!("../../../../bench/fluent-bit.conf");
        let config = self.stand.write_config("fluent-bit.conf", text, &values, self.parses())?;
        let mut command = Command::new(program);
        command.arg("-c").arg(config);
        Ok(command)
    }

    fn values(&self, admin: u16) -> Vec<(&'static str, String)> {
        let folder = self.stand.folder();
        vec![
            ("ADMIN", admin.to_string()),
            ("DIR", folder.display().to_string()),
            ("IN", folder.join("logs-in").display().to_string()),
        ]
    }

    /// How often the part of the configuration that parses appears.
    fn parses(&self) -> usize {
        usize::from(self.pipeline == Pipeline::CriJson)
    }
}

impl Shipping<'_> {
    /// The process to look at.
    pub(super) fn process(&self) -> u32 {
        self.running.id()
    }

    /// Waits until so many records have arrived.
    pub(super) fn wait_for(&mut self, records: u64) -> Result<(), Failure> {
        while self.count < records {
            std::thread::sleep(ASK_EVERY);
            // Fluent Bit answers some time after its start.
            self.count = self.arrived().unwrap_or(self.count);
            if let Some(status) = self.running.ended() {
                return Err(self.complaint(&format!("it ended: {status}")));
            }
            if self.began.elapsed() > SHIP_TIMEOUT {
                let text = format!("{} of {records} records after {SHIP_TIMEOUT:?}", self.count);
                return Err(self.complaint(&text));
            }
        }
        Ok(())
    }

    /// Fails unless Pillion made exactly the records that were written, and left no secret in
    /// them. Fluent Bit may make two of one whose parts it did not read within two seconds.
    pub(super) fn check(&self, written: &Input) -> Result<(), Failure> {
        if self.shipper.subject != Subject::Pillion {
            return Ok(());
        }
        let metrics = http::get(http::local(self.admin), "/metrics")?.body;
        let redacted = sum(&metrics, "pillion_logs_marked_total{", "mark=\"redacted\"");
        if (self.count, redacted) == (written.records, written.secrets) {
            return Ok(());
        }
        let Input { records, secrets, .. } = written;
        Err(self.complaint(&format!(
            "{} of {records} records arrived, {redacted} of {secrets} were made unreadable",
            self.count
        )))
    }

    fn arrived(&self) -> Result<u64, Failure> {
        let admin = http::local(self.admin);
        if self.shipper.subject == Subject::Pillion {
            let metrics = http::get(admin, "/metrics")?.body;
            return Ok(sum(&metrics, "pillion_logs_delivered_total{", ""));
        }
        let metrics = http::get(admin, "/api/v1/metrics")?.body;
        processed(&metrics).ok_or_else(|| Failure::new(format!("no counts in {metrics}")))
    }

    fn complaint(&self, what: &str) -> Failure {
        self.shipper.stand.with_complaint(self.shipper.subject, &Failure::new(what))
    }
}

/// The sum of a counter's series whose labels hold `label`, in a Prometheus text.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let series = metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    let of_label = series.filter(|(labels, _)| labels.contains(label));
    of_label.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// Records that the outputs of Fluent Bit have passed on.
fn processed(metrics: &str) -> Option<u64> {
    let metrics: Value = serde_json::from_str(metrics).ok()?;
    let outputs = metrics.get("output")?.as_object()?;
    Some(outputs.values().filter_map(|output| output.get("proc_records")?.as_u64()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_each_shipper_says() {
        let metrics = "# TYPE a_total counter\na_total{mark=\"cut\"} 1\na_total{mark=\"x\"} 20\n\
            a_total_more{mark=\"x\"} 300\nb_total 4000\n";
        assert_eq!(sum(metrics, "a_total{", "mark=\"x\""), 20);
        assert_eq!(sum(metrics, "a_total{", ""), 21);
        assert_eq!(sum(metrics, "c_total{", ""), 0);
        let metrics = r#"{"input":{},"output":{"null.0":{"proc_records":7,"errors":0}}}"#;
        assert_eq!(processed(metrics), Some(7));
        assert_eq!(processed("not yet"), None);
    }
}
