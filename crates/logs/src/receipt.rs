//! Receipts: how a source learns that everything up to a position has been delivered.
//!
//! A source writes each piece that it hands on into its [`Ledger`], and gets a [`Receipt`]. Whoever
//! keeps a part of the piece keeps a clone. A piece is done when every clone has said so; the
//! ledger's position is the end of the last piece before which all are done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// What one stream (a file, a connection) has handed on. Clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// Everything before this offset is done.
    position: u64,
    /// Number of the first of `pieces`.
    first: u64,
    /// The end of each piece that follows, and whether it is done.
    pieces: VecDeque<(u64, bool)>,
    /// The length of all lost pieces, where nobody can read them again.
    lost: Option<Rc<Cell<u64>>>,
}

/// Stands for one piece. Dropped without [`Receipt::done`], it says that the piece was not
/// delivered: the position never moves past it, and it is read again after a restart; or, where
/// that cannot be, the piece is counted as lost.
#[derive(Debug)]
pub struct Receipt {
    piece: Rc<Piece>,
    done: bool,
}

#[derive(Debug)]
struct Piece {
    ledger: Ledger,
    number: u64,
    lost: Cell<bool>,
}

impl Ledger {
    /// A ledger whose stream begins at `position`.
    #[must_use]
    pub fn new(position: u64) -> Self {
        Self::with(position, None)
    }

    /// A ledger of what can be read only once: pieces that are not delivered are done with, and
    /// their length is added to `lost`.
    #[must_use]
    pub fn read_once(lost: Rc<Cell<u64>>) -> Self {
        Self::with(0, Some(lost))
    }

    fn with(position: u64, lost: Option<Rc<Cell<u64>>>) -> Self {
        let pieces = VecDeque::new();
        Self(Rc::new(RefCell::new(Inner { position, first: 0, pieces, lost })))
    }

    /// Hands on everything up to `end`, which follows what was handed on before; 0 for a piece that
    /// is still empty, see [`Receipt::extend`].
    #[must_use]
    pub fn hand_on(&self, end: u64) -> Receipt {
        let mut inner = self.0.borrow_mut();
        let number = inner.first + u64::try_from(inner.pieces.len()).unwrap_or(u64::MAX);
        inner.pieces.push_back((end, false));
        let piece = Rc::new(Piece { ledger: self.clone(), number, lost: Cell::new(false) });
        Receipt { piece, done: false }
    }

    /// Everything before this offset is done.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.borrow().position
    }

    /// Pieces that are not, or that wait for one before them.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.0.borrow().pieces.len()
    }

    fn done(&self, number: u64) {
        let mut inner = self.0.borrow_mut();
        let at = usize::try_from(number.saturating_sub(inner.first)).unwrap_or(usize::MAX);
        if let Some((_, done)) = inner.pieces.get_mut(at) {
            *done = true;
        }
        while let Some((end, true)) = inner.pieces.front().copied() {
            inner.position = end.max(inner.position);
            inner.first += 1;
            inner.pieces.pop_front();
        }
    }

    fn lost(&self, number: u64) {
        let inner = self.0.borrow();
        let Some(lost) = &inner.lost else { return };
        lost.set(lost.get() + inner.length(number));
        drop(inner);
        self.done(number);
    }
}

impl Inner {
    /// How long this piece is.
    fn length(&self, number: u64) -> u64 {
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let end = self.pieces.get(at).map_or(self.position, |(end, _)| *end);
        let before = at.checked_sub(1).and_then(|before| self.pieces.get(before));
        end.saturating_sub(before.map_or(self.position, |(end, _)| *end))
    }
}

impl Receipt {
    /// Says that this part is done: delivered, kept for certain, or dropped on purpose.
    pub fn done(mut self) {
        self.done = true;
    }

    /// Moves the end of the piece further on: more of the stream was found to belong to it. Only for
    /// the last piece that was handed on.
    pub fn extend(&self, end: u64) {
        let mut inner = self.piece.ledger.0.borrow_mut();
        let at = self.piece.number.saturating_sub(inner.first);
        let piece = usize::try_from(at).ok().and_then(|at| inner.pieces.get_mut(at));
        if let Some((old, _)) = piece {
            *old = end.max(*old);
        }
    }

    /// Whether both stand for the same piece.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.piece, &other.piece)
    }
}

impl Clone for Receipt {
    fn clone(&self) -> Self {
        Self { piece: self.piece.clone(), done: false }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.done {
            self.piece.lost.set(true);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.lost.get() {
            self.ledger.lost(self.number);
        } else {
            self.ledger.done(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_moves_past_what_is_done_without_a_gap() {
        let ledger = Ledger::new(100);
        let [first, second, third] = [110, 120, 130].map(|end| ledger.hand_on(end));
        second.done();
        assert_eq!(ledger.position(), 100);
        first.done();
        assert_eq!(ledger.position(), 120);
        third.done();
        assert_eq!((ledger.position(), ledger.outstanding()), (130, 0));
    }

    #[test]
    fn a_piece_is_done_when_every_part_is() {
        let ledger = Ledger::new(0);
        let piece = ledger.hand_on(10);
        let part = piece.clone();
        assert!(part.is_same(&piece));
        piece.done();
        assert_eq!(ledger.position(), 0);
        part.done();
        assert_eq!(ledger.position(), 10);
    }

    #[test]
    fn a_piece_may_grow_until_it_is_done() {
        let ledger = Ledger::new(5);
        let piece = ledger.hand_on(5);
        let part = piece.clone();
        piece.extend(9);
        piece.done();
        assert_eq!(ledger.position(), 5);
        part.done();
        assert_eq!(ledger.position(), 9);
    }

    #[test]
    fn what_is_lost_holds_the_position() {
        let ledger = Ledger::new(0);
        let lost = ledger.hand_on(10);
        let part = lost.clone();
        drop(part);
        lost.done();
        ledger.hand_on(20).done();
        assert_eq!((ledger.position(), ledger.outstanding()), (0, 2));
    }

    #[test]
    fn what_is_lost_and_cannot_be_read_again_is_counted_once_and_holds_nothing_up() {
        let lost = Rc::new(Cell::new(0));
        let ledger = Ledger::read_once(lost.clone());
        let [first, second, third] = [3, 10, 12].map(|end| ledger.hand_on(end));
        drop((second.clone(), second));
        assert_eq!((lost.get(), ledger.position(), ledger.outstanding()), (7, 0, 3));
        first.done();
        assert_eq!((lost.get(), ledger.position(), ledger.outstanding()), (7, 10, 1));
        drop(third);
        assert_eq!((lost.get(), ledger.position(), ledger.outstanding()), (9, 12, 0));
    }
}
