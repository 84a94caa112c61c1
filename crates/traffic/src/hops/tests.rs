//! Tests of hops.
