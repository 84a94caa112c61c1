//! Batches for a delivery, and what became of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pillion_logs::batch::Batch;
use pillion_logs::deliver::{Deliverer, End, Parcel, Status, Supply};
use pillion_logs::encode::{Encoder, Facts};
use pillion_logs::record::{Record, UnixNanos, Value};
use pillion_logs::sink::Sink;
use pillion_model::logs::{Compression, ForwardOutput, HttpOutput, Output, Retry, Schema};

/// Quick, so that a test with faults is over soon.
pub(crate) const RETRY: Retry =
    Retry { min: Duration::from_millis(1), max: Duration::from_millis(20), give_up: None };

/// What became of the batches of a supply.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) done: usize,
    pub(crate) given_back: usize,
    /// Dead records, and why.
    pub(crate) dead: Vec<(String, String)>,
}

/// Hands out batches in their order.
pub(crate) struct Batches {
    waiting: VecDeque<Batch>,
    outcome: Rc<RefCell<Outcome>>,
}

pub(crate) struct Handed {
    batch: Batch,
    outcome: Rc<RefCell<Outcome>>,
    is_done: bool,
}

impl Batches {
    pub(crate) fn new(batches: impl IntoIterator<Item = Batch>) -> Self {
        Self { waiting: batches.into_iter().collect(), outcome: Rc::default() }
    }

    /// What becomes of them.
    pub(crate) fn outcome(&self) -> Rc<RefCell<Outcome>> {
        self.outcome.clone()
    }
}

impl Supply for Batches {
    type Parcel = Handed;

    async fn next(&mut self) -> Option<Handed> {
        let batch = self.waiting.pop_front()?;
        Some(Handed { batch, outcome: self.outcome.clone(), is_done: false })
    }
}

impl Parcel for Handed {
    fn batch(&self) -> &Batch {
        &self.batch
    }

    fn dead<'r>(&self, records: impl Iterator<Item = &'r [u8]>, reason: &str) {
        let text = |record: &[u8]| String::from_utf8_lossy(record).into_owned();
        let dead = records.map(|record| (text(record), reason.to_owned()));
        self.outcome.borrow_mut().dead.extend(dead);
    }

    fn done(mut self) {
        self.is_done = true;
        self.outcome.borrow_mut().done += 1;
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if !self.is_done {
            self.outcome.borrow_mut().given_back += 1;
        }
    }
}

pub(crate) fn now() -> UnixNanos {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// A record with a message, and an id made of `number`.
pub(crate) fn record(number: usize, body: &str) -> Record<'static> {
    let observed = now();
    Record {
        id: 0xabc0_0000_0000 + number as u128,
        observed,
        time: Some(observed),
        body: Value::Text(body.to_owned().into()),
        ..Record::default()
    }
}

/// `line 0;`, `line 1;` and so on: none is in another.
pub(crate) fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number};")).collect()
}

pub(crate) fn resource() -> Vec<(String, String)> {
    vec![("service.name".to_owned(), "shop".to_owned())]
}

/// The records as a sink takes them, so many in a batch.
pub(crate) fn batches(
    output: &Output,
    records: impl IntoIterator<Item = Record<'static>>,
    size: usize,
) -> Vec<Batch> {
    let mut encoder = Encoder::new(output);
    let origin = encoder.origin(&Facts { source: "app", resource: &resource() });
    let mut open: BTreeMap<String, (Batch, Vec<u8>)> = BTreeMap::new();
    let mut full = Vec::new();
    for record in records {
        let partition = encoder.partition(&record, &origin);
        let key = partition.to_string();
        let (batch, bytes) = open.entry(key.clone()).or_insert_with(|| {
            let oldest = record.observed;
            (Batch { partition, oldest, ..Batch::default() }, Vec::new())
        });
        encoder.encode(&record, &origin, bytes);
        batch.ends.push(u32::try_from(bytes.len()).unwrap());
        if batch.ends.len() == size {
            full.extend(open.remove(&key));
        }
    }
    full.extend(open.into_values());
    let whole = |(batch, bytes): (_, Vec<u8>)| Batch { bytes: bytes.into(), ..batch };
    full.into_iter().map(whole).collect()
}

/// [`batches`] of messages.
pub(crate) fn batches_of(output: &Output, bodies: &[String], size: usize) -> Vec<Batch> {
    batches(output, bodies.iter().enumerate().map(|(number, body)| record(number, body)), size)
}

pub(crate) fn http_output(url: &str) -> HttpOutput {
    HttpOutput {
        url: url.into(),
        headers: Vec::new(),
        ca: None,
        identity: None,
        compress: Compression::None,
        timeout: Duration::from_secs(20),
        concurrency: 4,
        schema: Schema::Otel,
    }
}

pub(crate) fn forward_output(address: &str) -> ForwardOutput {
    ForwardOutput {
        address: address.into(),
        tls: None,
        tag: "shop.{severity}".into(),
        login: None,
        compress: Compression::None,
        timeout: Duration::from_secs(20),
        concurrency: 4,
    }
}

/// Runs something as the role does: on one thread.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// Delivers all of it, and tells how it ended.
pub(crate) async fn delivered(
    output: &Output,
    batches: Vec<Batch>,
    retry: Retry,
) -> (End, Outcome, Status) {
    let supply = Batches::new(batches);
    let outcome = supply.outcome();
    let deliverer = Deliverer::new("test".into(), Sink::new(output).unwrap(), retry, 1);
    let end = deliverer.run(supply).await;
    (end, outcome.take(), deliverer.status())
}

/// Delivers all of it, and expects every record to arrive.
pub(crate) fn deliver_all(output: &Output, batches: Vec<Batch>) -> Status {
    let (count, records) =
        (batches.len(), batches.iter().map(|batch| batch.ends.len()).sum::<usize>());
    let (end, outcome, status) = on_one_thread(delivered(output, batches, RETRY));
    assert_eq!((end, &outcome.dead[..]), (End::Drained, &[][..]));
    assert_eq!((outcome.done, outcome.given_back), (count, 0));
    let arrived = usize::try_from(status.delivered_records).unwrap();
    assert_eq!(arrived, records);
    assert_eq!((status.in_flight, status.oldest), (0, None));
    status
}
