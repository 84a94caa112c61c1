//! Numbers: reading them, counting, computing.

use std::cmp::Ordering;

use super::super::eval::order;
use super::{Call, Fault, Function, MAX_ITEMS, Value, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("parseBool", 1, 1, |call| match call.text(0)? {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        _ => Err(call.fault("this is neither true nor false")),
    }),
    function("parseInt", 1, 1, parse_int),
    function("parseUint", 1, 1, |call| match parse_int(call)? {
        Value::Int(number) if number < 0 => Err(call.fault("the number is below 0")),
        number => Ok(number),
    }),
    function("parseFloat", 1, 1, |call| match call.text(0)? {
        "" => Ok(Value::Float(0.0)),
        text => text.parse().map(Value::Float).map_err(|_| call.fault("this is no number")),
    }),
    function("add", 2, 2, |call| computed(call, i64::checked_add, |a, b| a + b)),
    function("subtract", 2, 2, |call| computed(call, i64::checked_sub, |a, b| a - b)),
    function("multiply", 2, 2, |call| computed(call, i64::checked_mul, |a, b| a * b)),
    function("divide", 2, 2, |call| computed(call, i64::checked_div, |a, b| a / b)),
    function("modulo", 2, 2, |call| match (call.value(1), call.value(0)) {
        (Value::Int(a), Value::Int(b)) => {
            a.checked_rem(*b).map(Value::Int).ok_or_else(|| call.fault("there is no remainder"))
        }
        _ => Err(call.fault("both must be integers")),
    }),
    function("minimum", 2, 2, |call| {
        let is_less = compared(call)?.is_lt();
        Ok(call.value(usize::from(!is_less)).clone())
    }),
    function("maximum", 2, 2, |call| {
        let is_more = compared(call)?.is_gt();
        Ok(call.value(usize::from(!is_more)).clone())
    }),
    function("loop", 1, 2, |call| {
        let from = if call.arguments.len() == 2 { bound(call, 0)? } else { 0 };
        let to = bound(call, call.arguments.len() - 1)?;
        let count = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        match count > MAX_ITEMS {
            true => Err(call.fault(format!("more than {MAX_ITEMS} rounds"))),
            false => Ok(Value::list((from..to).map(Value::Int))),
        }
    }),
];

fn parse_int(call: &Call<'_>) -> Result<Value, Fault> {
    match call.text(0)? {
        "" => Ok(Value::Int(0)),
        text => text.parse().map(Value::Int).map_err(|_| call.fault("this is no integer")),
    }
}

fn bound(call: &Call<'_>, at: usize) -> Result<i64, Fault> {
    match call.value(at) {
        Value::Number(text) | Value::Text(text) => {
            text.parse().map_err(|_| call.fault("this is no integer"))
        }
        _ => call.int(at),
    }
}

/// How two numbers of one kind are ordered.
fn compared(call: &Call<'_>) -> Result<Ordering, Fault> {
    match (call.value(0), call.value(1)) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            order(call.value(0), call.value(1))
        }
        _ => Err(call.fault("both must be numbers")),
    }
}

/// The second argument, which a pipeline feeds, computed with the first.
fn computed(
    call: &Call<'_>,
    int: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
) -> Result<Value, Fault> {
    match (call.value(1), call.value(0)) {
        (Value::Int(a), Value::Int(b)) => {
            int(*a, *b).map(Value::Int).ok_or_else(|| call.fault("the result is no number"))
        }
        (Value::Float(a), Value::Float(b)) => Ok(Value::Float(float(*a, *b))),
        (Value::Int(a), Value::Float(b)) => Ok(Value::Float(float(*a as f64, *b))),
        (Value::Float(a), Value::Int(b)) => Ok(Value::Float(float(*a, *b as f64))),
        _ => Err(call.fault("both must be numbers")),
    }
}
