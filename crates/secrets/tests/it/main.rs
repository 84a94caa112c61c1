//! The secrets role seen from outside.

mod templates;
