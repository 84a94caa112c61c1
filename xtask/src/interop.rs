//! `cargo xtask interop`: what Pillion sends is read by a real Fluent Bit, and compared line by line.
//!
//! No registry has Fluent Bit as a program, so that this is no part of the tests: it takes the one
//! that `FLUENT_BIT` names, or that is on the `PATH`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::Running;
use crate::failure::{Doing, Failure};
use crate::{arguments, http, program, workspace};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What Fluent Bit makes of a message of RFC 5424. Its own documentation has this expression, but for
/// messages that are empty or have several lines.
const RFC5424: &str = r"^\<(?<pri>[0-9]{1,3})\>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) (?<msgid>[^ ]+) (?<extradata>(\[(.*?)\]|-)) (?<message>(?m:.*))$";

/// An input of Fluent Bit.
struct Input {
    name: &'static str,
    port: u16,
    /// Its name in the table.
    title: &'static str,
    /// Its further keys.
    keys: Value,
    /// Keys of the sink, where it needs more than an address.
    sink: Option<Value>,
    /// Where Pillion sends to, but for the address.
    scheme: &'static str,
    path: &'static str,
    /// The file that its output writes, which is named after the tag.
    file: &'static str,
    /// The field with the message.
    message: &'static str,
}

/// `cargo xtask interop`.
pub(crate) fn command(arguments: &[String]) -> Result<(), Failure> {
    arguments::only(arguments, &[])?;
    let fluent_bit = fluent_bit()?;
    let pillion = workspace::pillion("dev")?;
    let folder = std::env::temp_dir().join(format!("pillion-interop-{}", std::process::id()));
    std::fs::create_dir_all(&folder).doing(format!("making {}", folder.display()))?;
    let compared = compare(&fluent_bit, &pillion, &folder);
    match compared {
        Ok(()) => std::fs::remove_dir_all(&folder).doing(format!("removing {}", folder.display())),
        Err(failure) => Err(failure.fix(format!("look at what is in {}", folder.display()))),
    }
}

fn fluent_bit() -> Result<PathBuf, Failure> {
    let given = std::env::var_os("FLUENT_BIT").map(PathBuf::from);
    given.or_else(|| program::find("fluent-bit")).ok_or_else(|| {
        Failure::new("there is no Fluent Bit").fix(
            "put fluent-bit on the PATH, or name it in FLUENT_BIT; how to build or install one: \
             https://docs.fluentbit.io",
        )
    })
}

fn compare(fluent_bit: &Path, pillion: &Path, folder: &Path) -> Result<(), Failure> {
    let version = program::output(Command::new(fluent_bit).arg("--version"))?;
    println!("interop: {} at {}", version.lines().next().unwrap_or_default(), fluent_bit.display());
    let inputs = inputs(http::free_ports()?, folder)?;
    let messages = messages();
    let log = folder.join("in.log");
    let lines: String =
        messages.iter().map(|message| format!("{}\n", json!({"message": message}))).collect();
    std::fs::write(&log, lines).doing(format!("writing {}", log.display()))?;
    let mut peer = start(fluent_bit, &inputs, folder)?;

    println!("{:<19} {:>5} {:>9} {:>7}", "input", "lines", "different", "");
    let mut all_same = true;
    for input in &inputs {
        let _sender = send(pillion, input, &log, folder)?;
        let came = came(&mut peer, &folder.join(input.file), messages.len())?;
        let different = differences(input, &messages, &came);
        let word = if different == 0 { "same" } else { "DIFFERS" };
        println!("{:<19} {:>5} {different:>9} {word:>7}", input.title, came.len());
        all_same &= different == 0;
    }
    match all_same {
        true => Ok(()),
        false => Err(Failure::new("what came is not what was sent")),
    }
}

/// Messages that something on the way could change.
fn messages() -> Vec<String> {
    let mut messages: Vec<_> = (0..50).map(|number| format!("request {number} done")).collect();
    let special = [
        "",
        "  spaces around  ",
        "grüß 🦀 \u{2028} 中文",
        "a \"quoted\" back\\slash, a 'single' one, and a tab\tinside",
        "two lines\n  and a third\n\nafter an empty one",
        "{\"json\": [1, 2]}",
        "<13>1 - - - - - [x y=\"z\"] & ]]> %s $1",
        "\u{1b}[31mred\u{1b}[0m",
        "ends with a backslash\\",
    ];
    messages.extend(special.map(str::to_owned));
    messages.push("long ".repeat(4000));
    messages
}

fn inputs(
    [http, syslog, forward, secured, opentelemetry]: [u16; 5],
    folder: &Path,
) -> Result<[Input; 5], Failure> {
    let secret = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).doing(format!("writing {}", file.display()))?;
        Ok(file)
    };
    let (key, password) = (secret("key", "the key of both")?, secret("password", "secret")?);
    let plain = |name, port, scheme, message| Input {
        name,
        port,
        title: name,
        keys: json!({}),
        sink: None,
        scheme,
        path: "",
        file: name,
        message,
    };
    Ok([
        Input {
            path: "/http",
            // It takes lines of JSON under this name alone.
            sink: Some(json!({"headers": {"content-type": "application/json"}})),
            ..plain("http", http, "http", "body")
        },
        Input {
            keys: json!({
                "mode": "tcp", "format": "octet_counting", "parser": "rfc5424", "tag": "syslog",
            }),
            ..plain("syslog", syslog, "syslog", "message")
        },
        Input { file: "pillion.files", ..plain("forward", forward, "forward", "message") },
        Input {
            title: "forward with a key",
            keys: json!({
                "shared_key": "the key of both",
                "self_hostname": "fluent-bit",
                "security.users": "ann secret",
            }),
            sink: Some(json!({
                "tag": "secured", "shared_key_file": key, "user": "ann", "password_file": password,
            })),
            file: "secured",
            ..plain("forward", secured, "forward", "message")
        },
        Input {
            keys: json!({"tag": "opentelemetry"}),
            ..plain("opentelemetry", opentelemetry, "otlp", "log")
        },
    ])
}

/// Starts Fluent Bit with all inputs, and waits until it listens.
fn start(fluent_bit: &Path, inputs: &[Input], folder: &Path) -> Result<Running, Failure> {
    let listening = inputs.iter().map(|input| {
        let mut keys = json!({"name": input.name, "listen": "127.0.0.1", "port": input.port});
        if let (Some(keys), Some(further)) = (keys.as_object_mut(), input.keys.as_object()) {
            keys.extend(further.clone());
        }
        keys
    });
    let config = json!({
        "service": {"flush": 0.2, "grace": 1},
        "parsers": [{"name": "rfc5424", "format": "regex", "regex": RFC5424}],
        "pipeline": {
            "inputs": listening.collect::<Vec<_>>(),
            "outputs": [{"name": "file", "match": "*", "path": folder, "format": "plain"}],
        },
    });
    let file = folder.join("fluent-bit.yaml");
    // JSON is YAML.
    std::fs::write(&file, config.to_string()).doing(format!("writing {}", file.display()))?;
    let mut command = Command::new(fluent_bit);
    let mut running = begin(command.arg("--config").arg(file), &folder.join("fluent-bit.log"))?;
    wait(&mut running, "Fluent Bit listens", || {
        let mut ports = inputs.iter().map(|input| http::local(input.port));
        ports.all(|address| TcpStream::connect(address).is_ok()).then_some(())
    })?;
    Ok(running)
}

/// Sends the log. A program that is given back goes on until it is dropped.
fn send(
    pillion: &Path,
    input: &Input,
    log: &Path,
    folder: &Path,
) -> Result<Option<Running>, Failure> {
    let to = format!("{}://{}{}", input.scheme, http::local(input.port), input.path);
    let mut command = Command::new(pillion);
    let Some(further) = &input.sink else {
        command.args(["logs", "ship", "--once", "--parse", "json", "--to", &to, "--file"]).arg(log);
        program::output(&mut command)?;
        return Ok(None);
    };
    let mut sink = further.clone();
    if let Some(sink) = sink.as_object_mut() {
        sink.insert("to".to_owned(), json!(to));
    }
    let config = json!({
        "inbound": {"listen": "off"},
        "outbound": {"listen": "off"},
        "admin": {"listen": "off"},
        "logs": {
            "sources": {"files": {"files": log, "from": "beginning", "parse": "json"}},
            "sinks": {"sink": sink},
        },
    });
    let file = folder.join("pillion.yaml");
    std::fs::write(&file, config.to_string()).doing(format!("writing {}", file.display()))?;
    begin(command.args(["run", "--config"]).arg(file), &folder.join("pillion.log")).map(Some)
}

/// Starts a program that writes what it has to say into a file.
fn begin(command: &mut Command, log: &Path) -> Result<Running, Failure> {
    let said = std::fs::File::create(log).doing(format!("making {}", log.display()))?;
    Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said), None)
}

/// The lines of a file, once they are as many.
fn came(peer: &mut Running, file: &Path, count: usize) -> Result<Vec<Value>, Failure> {
    wait(peer, &format!("{count} lines are in {}", file.display()), || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let lines = whole.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null));
        let lines: Vec<_> = lines.collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// How many messages are not what was sent; shows the first of them.
fn differences(input: &Input, sent: &[String], came: &[Value]) -> usize {
    // Fluent Bit leaves out a part of a syslog message that is empty.
    let message = |line: &Value| line.get(input.message).map_or(json!(""), Value::clone);
    let pairs = sent.iter().zip(came.iter().map(message));
    let different: Vec<_> = pairs.filter(|(sent, came)| came != *sent).collect();
    for (sent, came) in different.iter().take(3) {
        println!("  sent {sent:?}\n  came {came}");
    }
    different.len() + sent.len().abs_diff(came.len())
}

fn wait<T>(
    running: &mut Running,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if let Some(status) = running.ended() {
            return Err(Failure::new(format!("waiting until {what}: it ended, {status}")));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("waited {PATIENCE:?} in vain until {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
