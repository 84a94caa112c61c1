//! Tests of route.
