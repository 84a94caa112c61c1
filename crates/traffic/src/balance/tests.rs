//! Tests of balance.
