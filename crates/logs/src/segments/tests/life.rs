//! A long life at random against a model: what is appended comes out in order, and again only from
//! the first batch that is not done.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read,
    /// One of those that were read.
    Done(prop::sample::Index),
    Sync,
    /// The process is killed, and so many bytes of its last write are missing if it ended in one.
    Crash {
        torn: Option<prop::sample::Index>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (8..30_000_usize).prop_map(Step::Append),
        5 => Just(Step::Read),
        5 => any::<prop::sample::Index>().prop_map(Step::Done),
        1 => Just(Step::Sync),
        1 => prop::option::of(any::<prop::sample::Index>()).prop_map(|torn| Step::Crash { torn }),
    ]
}

struct Life {
    folder: tempfile::TempDir,
    segments: Segments,
    /// Not done, or after one that is not, in order.
    expected: VecDeque<(u64, bool)>,
    /// Of these, how many were read.
    read: usize,
    in_hand: Vec<Batch>,
    next: u64,
    /// The bytes of the last frame, if nothing came after it.
    last_frame: u64,
}

impl Life {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let segments = open(folder.path());
        let (expected, in_hand) = (VecDeque::new(), Vec::new());
        Self { folder, segments, expected, read: 0, in_hand, next: 0, last_frame: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(len) => {
                let before = self.segments.used();
                match self.segments.append(&batch(self.next, *len), false) {
                    Ok(_) => {
                        self.last_frame = self.segments.used() - before;
                        self.expected.push_back((self.next, false));
                    }
                    Err(Refused::Full) => assert!(before + *len as u64 + 200 > LIMIT),
                    Err(Refused::Failed(error)) => panic!("{error}"),
                }
                self.next += 1;
            }
            Step::Read => {
                let read = self.segments.read().unwrap();
                let expected = self.expected.get(self.read).map(|(id, _)| *id);
                assert_eq!(read.as_ref().map(id), expected);
                self.read += usize::from(read.is_some());
                self.in_hand.extend(read);
            }
            Step::Done(index) => self.done(index),
            Step::Sync => sync(&mut self.segments),
            Step::Crash { torn } => self.crash(torn.as_ref()),
        }
        assert!(self.segments.used() <= LIMIT);
        let unread = (self.expected.len() - self.read) as u64;
        assert_eq!(self.segments.unread().batches, unread);
    }

    fn done(&mut self, index: &prop::sample::Index) {
        if self.in_hand.is_empty() {
            return;
        }
        let batch = self.in_hand.swap_remove(index.index(self.in_hand.len()));
        let done = id(&batch);
        batch.done();
        self.segments.settle();
        self.expected.iter_mut().filter(|(id, _)| *id == done).for_each(|(_, done)| *done = true);
        while self.expected.pop_front_if(|(_, done)| *done).is_some() {
            self.read -= 1;
        }
    }

    fn crash(&mut self, torn: Option<&prop::sample::Index>) {
        let copy = copy(self.folder.path());
        let torn = torn.filter(|_| self.last_frame > 0 && self.read < self.expected.len());
        if let Some(torn) = torn {
            let file = files(copy.path()).pop().unwrap();
            let file = OpenOptions::new().write(true).open(file).unwrap();
            let cut = 1 + torn.index(self.last_frame as usize) as u64;
            file.set_len(file.metadata().unwrap().len() - cut).unwrap();
            self.expected.pop_back();
        }
        self.in_hand.clear();
        self.segments = open(copy.path());
        self.folder = copy;
        self.read = 0;
        self.expected.iter_mut().for_each(|(_, done)| *done = false);
        self.last_frame = 0;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_that_is_not_done_is_lost_whatever_happens(steps in prop::collection::vec(step(), 1..150)) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step);
        }
        life.crash(None);
        let expected: Vec<u64> = life.expected.iter().map(|(id, _)| *id).collect();
        assert_eq!(drain(&mut life.segments), expected);
        let counters = life.segments.counters();
        assert_eq!((counters.bad, counters.lost, counters.missing), Default::default());
    }
}
