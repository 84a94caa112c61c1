//! Whole transactions: what the app is told, and what happens when it says no.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pillion_model::secrets::{Confirm, FileSet, SetCheck, Tell};
use pillion_runtime::board::{AppControl, AppOrder, Delivered, Refusal, Secret, Started};
use pillion_secrets::store::{Draft, Observer, Step, Store};
use pillion_secrets::tell::App;
use pillion_secrets::transaction::{self, Change, Context, Done, Outcome, Part, Report};
use pillion_testkit::{Origin, Signal};
use tempfile::TempDir;

use crate::files::{draft, expected, seen, versions};

/// The set and its app, as a test wants them.
pub(crate) struct Stage {
    /// The app confirms no version but the first.
    pub(crate) refuses: bool,
    pub(crate) tell: Tell,
    pub(crate) confirm: Confirm,
    pub(crate) checks: Vec<SetCheck>,
    pub(crate) delivered: Vec<Secret>,
    pub(crate) board: Delivered,
    pub(crate) timeout: Duration,
    /// The process that gets signals.
    pub(crate) pid: Option<u32>,
    /// What the app was asked for.
    pub(crate) orders: Arc<Mutex<Vec<String>>>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            refuses: false,
            tell: Tell::Signal(Signal::SIGHUP as i32),
            confirm: Confirm::Ready,
            checks: vec![SetCheck::Command(vec!["true".to_owned()])],
            delivered: Vec::new(),
            board: Delivered::default(),
            // As long as no test waits for it.
            timeout: Duration::from_secs(20),
            pid: None,
            orders: Arc::default(),
        }
    }
}

impl Stage {
    fn orders(&self) -> Vec<String> {
        std::mem::take(&mut *self.orders.lock().unwrap())
    }
}

/// Runs one transaction with an app that answers as the stage says.
pub(crate) fn run(
    store: &mut Store,
    stage: &Stage,
    draft: Draft,
    observe: &mut Observer<'_>,
) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (control, mut orders) = AppControl::new();
        let (pid, asked, refuses) = (stage.pid, stage.orders.clone(), stage.refuses);
        let is_told = Arc::new(AtomicUsize::new(0));
        let told = is_told.clone();
        let app = tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                told.fetch_add(1, Ordering::SeqCst);
                // A second telling is the one that it is to take the old version again.
                let is_refused = refuses && told.load(Ordering::SeqCst) == 1;
                let answered = match is_refused {
                    true => Err(Refusal("it does not want to".to_owned())),
                    false => Ok(()),
                };
                let what = match order {
                    AppOrder::Signal(signal, answer) => {
                        if let Some(pid) = pid {
                            pillion_testkit::send_signal(pid, signal);
                        }
                        let _gone = answer.send(answered);
                        signal.to_string()
                    }
                    AppOrder::Restart(answer) => {
                        let _gone = answer.send(answered.map(|()| Started::new().1));
                        "restart".to_owned()
                    }
                };
                asked.lock().unwrap().push(what);
            }
        });
        let ready = || -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
            Box::pin(async { Ok(()) })
        };
        let set = set(store.directory(), stage);
        let context = Context {
            set: &set,
            app: App { control: &control, ready: &ready },
            delivered: &stage.board,
        };
        let change = Change {
            draft,
            delivered: stage.delivered.clone(),
            notes: b"noted".to_vec(),
            now: SystemTime::now(),
        };
        let report = transaction::run(context, store, change, observe).await;
        app.abort();
        report
    })
}

fn set(directory: &Path, stage: &Stage) -> FileSet {
    FileSet {
        name: "set".into(),
        directory: directory.to_owned(),
        files: Vec::new(),
        checks: stage.checks.clone(),
        tell: stage.tell.clone(),
        confirm: stage.confirm.clone(),
        confirm_timeout: stage.timeout,
        grace: Duration::ZERO,
        keep: 1,
    }
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

fn parts(report: &Report) -> Vec<(Part, bool)> {
    report.done.iter().map(|done| (done.part, done.fault.is_none())).collect()
}

/// What failed first.
fn fault(report: &Report) -> Option<&Done> {
    report.done.iter().find(|done| done.fault.is_some())
}

/// What failed first on the way back.
fn fault_of_return(report: &Report) -> Option<&Done> {
    let mut back = report.done.iter().skip_while(|done| done.part != Part::Return);
    back.find(|done| done.fault.is_some())
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path()).unwrap().0
}

#[test]
fn a_change_goes_through_every_step_in_order() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let stage = Stage { delivered: vec!["s3cret".into()], ..Stage::default() };
    let mut steps = Vec::new();
    let board = stage.board.clone();
    let report = run(&mut store, &stage, draft(&[("a", "s3cret"), ("b", "2")]), &mut |step| {
        assert_eq!(
            board.current().as_ref(),
            [Secret::from("s3cret")],
            "known before it is written"
        );
        steps.push(step);
    });
    assert_eq!(report.outcome, Outcome::Settled(1), "{report}");
    assert_eq!(report.to_string(), "version 1 is in use");
    let mut in_order = Step::ALL[..=Step::Pruned as usize].to_vec();
    in_order.insert(3, Step::FileWritten);
    assert_eq!(steps, in_order);
    let all = [
        Part::Compare,
        Part::Stage,
        Part::Check(0),
        Part::Swap,
        Part::Tell,
        Part::Confirm,
        Part::Settle,
    ];
    assert_eq!(parts(&report), all.map(|part| (part, true)));
    assert_eq!(stage.orders(), ["SIGHUP"]);
}

#[test]
fn the_same_files_again_touch_nothing_and_tell_nobody() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let stage = Stage::default();
    let files = || draft(&[("a", "1"), ("b/c", "2")]);
    run(&mut store, &stage, files(), &mut |_| {});
    assert_eq!(stage.orders(), ["SIGHUP"]);
    let inode = || fs::metadata(dir.path().join(".versions/journal")).unwrap().ino();
    let before = inode();
    let report = run(&mut store, &stage, files(), &mut |step| panic!("{step:?}"));
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert_eq!((stage.orders(), inode()), (Vec::new(), before));
}

#[test]
fn a_check_that_fails_keeps_the_app_out_of_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    run(&mut store, &Stage::default(), draft(&[("a", "{}")]), &mut |_| {});
    let script = "cat a; echo $PILLION_VERSION_DIR; exit 1";
    let checks = vec![SetCheck::Json("a".to_owned()), SetCheck::Command(sh(script))];
    let stage = Stage { checks, delivered: vec!["\"s3cret\"".into()], ..Stage::default() };
    let report = run(&mut store, &stage, draft(&[("a", "\"s3cret\"")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Refused);
    let fault = fault(&report).unwrap();
    assert_eq!(fault.part, Part::Check(1));
    let text = fault.fault.as_deref().unwrap();
    let folder = dir.path().join(".versions/2");
    assert_eq!(text, format!("sh ended with code 1; it said: [secret]{}", folder.display()));
    assert!(stage.orders().is_empty());
    assert_eq!(seen(dir.path()), expected(&draft(&[("a", "{}")])));
    assert_eq!(versions(dir.path()), ["1"]);
    assert_eq!(store.trying(), None);
}

#[test]
fn an_app_that_refuses_gets_the_old_version_again_and_is_told() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    run(&mut store, &Stage::default(), draft(&[("a", "1"), ("b", "1")]), &mut |_| {});
    let stage = Stage { refuses: true, ..Stage::default() };
    let report = run(&mut store, &stage, draft(&[("a", "2")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Returned { from: 2, to: 1 });
    assert_eq!(
        report.to_string(),
        "version 2 failed and version 1 is in use again; \
         tell: the app cannot be told: it does not want to"
    );
    assert_eq!(fault_of_return(&report), None);
    let tail = [Part::Tell, Part::Return, Part::TellBack, Part::ConfirmBack, Part::Drop];
    let done = parts(&report);
    assert_eq!(done[done.len() - 5..].iter().map(|it| it.0).collect::<Vec<_>>(), tail);
    assert_eq!(stage.orders(), ["SIGHUP", "SIGHUP"]);
    assert_eq!(seen(dir.path()), expected(&draft(&[("a", "1"), ("b", "1")])));
    assert_eq!(versions(dir.path()), ["1"]);
}

#[test]
fn a_first_version_that_nobody_confirms_stays_and_is_tried_again() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let files = || draft(&[("a", "1")]);
    let refusing = Stage { refuses: true, ..Stage::default() };
    let report = run(&mut store, &refusing, files(), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Standing(1), "{report}");
    assert_eq!(seen(dir.path()), expected(&files()));
    let report = run(&mut store, &Stage::default(), files(), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(1), "{report}");
    assert_eq!(versions(dir.path()), ["1"]);
}

#[test]
fn a_confirmation_is_asked_for_until_it_comes_or_the_time_is_up() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let marks = TempDir::new().unwrap();
    let count = marks.path().join("count");
    let script = format!("echo x >> {0}; [ $(wc -l < {0}) -ge 3 ]", count.display());
    let stage = Stage { confirm: Confirm::Command(sh(&script)), ..Stage::default() };
    let report = run(&mut store, &stage, draft(&[("a", "1")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(1), "{report}");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\nx\n");

    let stage = Stage {
        confirm: Confirm::Command(sh("echo not yet; exit 7")),
        timeout: Duration::from_millis(800),
        ..Stage::default()
    };
    let report = run(&mut store, &stage, draft(&[("a", "2")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Returned { from: 2, to: 1 });
    let fault = fault(&report).unwrap().fault.clone().unwrap();
    assert!(
        ["sh ended with code 7", "sh took longer"].iter().any(|it| fault.starts_with(it)),
        "{fault}"
    );
    // The old one is not confirmed either, and that is said too.
    assert_eq!(fault_of_return(&report).unwrap().part, Part::ConfirmBack);
}

#[test]
fn an_app_is_told_and_asked_over_http() {
    let statuses = ["200 OK", "503 Service Unavailable", "301 Moved Permanently", "204 No Content"];
    let asked = AtomicUsize::new(0);
    let app = Origin::answering(move |_, _| {
        let status = statuses[asked.fetch_add(1, Ordering::SeqCst)];
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    });
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let url = |path: &str| -> Arc<str> { format!("http://{}{path}", app.address()).into() };
    let stage = Stage {
        tell: Tell::Http { url: url("/-/reload?soon=1"), method: "POST".to_owned() },
        confirm: Confirm::Http(url("/ready")),
        ..Stage::default()
    };
    let report = run(&mut store, &stage, draft(&[("a", "1")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(1), "{report}");
    let lines: Vec<String> = app.requests().into_iter().map(|(head, _)| head.line).collect();
    let ready = "GET /ready HTTP/1.1";
    assert_eq!(lines, ["POST /-/reload?soon=1 HTTP/1.1", ready, ready, ready]);
}

#[test]
fn a_real_process_gets_the_signal_after_the_swap() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    run(
        &mut store,
        &Stage { tell: Tell::Nothing, ..Stage::default() },
        draft(&[("a", "1")]),
        &mut |_| {},
    );
    let marks = TempDir::new().unwrap();
    let (started, read) = (marks.path().join("started"), marks.path().join("read"));
    let script = format!(
        "trap 'cat {} > {}; exit' HUP; touch {}; while :; do sleep 0.05; done",
        dir.path().join("a").display(),
        read.display(),
        started.display(),
    );
    let mut app = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    pillion_testkit::eventually("the app's start", || started.exists());
    let check = format!("[ -s {} ]", read.display());
    let stage =
        Stage { pid: Some(app.id()), confirm: Confirm::Command(sh(&check)), ..Stage::default() };
    let report = run(&mut store, &stage, draft(&[("a", "2")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(2), "{report}");
    assert_eq!(fs::read_to_string(&read).unwrap(), "2");
    app.wait().unwrap();
}

#[test]
fn a_way_back_that_fails_is_said_and_taken_by_the_next_transaction() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    run(&mut store, &Stage::default(), draft(&[("a", "1")]), &mut |_| {});
    // Between the telling and the way back, somebody puts a folder where the link has to go.
    let stage = Stage {
        tell: Tell::Command(sh(&format!(
            "cd {} && rm current && mkdir current && touch current/x && exit 1",
            dir.path().display()
        ))),
        ..Stage::default()
    };
    let report = run(&mut store, &stage, draft(&[("a", "2")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Stuck(2), "{report}");
    assert!(
        report.to_string().starts_with("version 2 failed and could not be taken back; tell: "),
        "{report}"
    );
    assert_eq!(fault_of_return(&report).unwrap().part, Part::Return);

    fs::remove_dir_all(dir.path().join("current")).unwrap();
    let report = run(&mut store, &Stage::default(), draft(&[("a", "3")]), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(3), "{report}");
    assert_eq!(report.done[0].part, Part::Return);
    assert_eq!(seen(dir.path()), expected(&draft(&[("a", "3")])));
}

#[test]
fn a_confirmation_that_cannot_be_recorded_is_said_and_asked_for_again() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    run(&mut store, &Stage::default(), draft(&[("a", "1")]), &mut |_| {});
    let journal = dir.path().join(".versions/journal");
    let spoil = format!("rm {0} && mkdir {0} && touch {0}/x", journal.display());
    let stage = Stage { confirm: Confirm::Command(sh(&spoil)), ..Stage::default() };
    let files = || draft(&[("a", "2")]);
    let report = run(&mut store, &stage, files(), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Unrecorded(2), "{report}");
    assert_eq!(fault(&report).unwrap().part, Part::Settle);
    assert_eq!(seen(dir.path()), expected(&files()));

    fs::remove_dir_all(&journal).unwrap();
    let report = run(&mut store, &Stage::default(), files(), &mut |_| {});
    assert_eq!(report.outcome, Outcome::Settled(2), "{report}");
    assert_eq!(versions(dir.path()), ["1", "2"]);
}
