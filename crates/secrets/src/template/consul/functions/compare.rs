//! Comparing, choosing and looking into values.

use std::cmp::Ordering;

use super::super::eval::order;
use super::{ANY, Call, Fault, Function, Value, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("eq", 2, ANY, |call| {
        let rest = call.arguments.get(1..).unwrap_or_default();
        let mut found = false;
        for other in rest {
            found |= equal(call.value(0), other)?;
        }
        Ok(Value::Bool(found))
    }),
    function("ne", 2, 2, |call| Ok(Value::Bool(!equal(call.value(0), call.value(1))?))),
    function("lt", 2, 2, |call| ordered(call, |order| order.is_lt())),
    function("le", 2, 2, |call| ordered(call, |order| order.is_le())),
    function("gt", 2, 2, |call| ordered(call, |order| order.is_gt())),
    function("ge", 2, 2, |call| ordered(call, |order| order.is_ge())),
    function("not", 1, 1, |call| Ok(Value::Bool(!call.value(0).is_true()))),
    function("len", 1, 1, |call| {
        let length = match call.value(0) {
            Value::Number(text) | Value::Text(text) => text.len(),
            Value::List(items) => items.len(),
            Value::Map(entries) => entries.len(),
            Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                return Err(call.unfit(0, "a text, list or map"));
            }
        };
        Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
    }),
    function("index", 1, ANY, index),
    function("slice", 1, 3, slice),
    function("in", 2, 2, |call| Ok(Value::Bool(holds(call.value(0), call.value(1))))),
    function("contains", 2, 2, |call| Ok(Value::Bool(holds(call.value(1), call.value(0))))),
    function("containsAny", 2, 2, |call| some(call, |all| all.contains(&true))),
    function("containsAll", 2, 2, |call| some(call, |all| !all.contains(&false))),
    function("containsNone", 2, 2, |call| some(call, |all| !all.contains(&true))),
    function("containsNotAll", 2, 2, |call| some(call, |all| all.contains(&false))),
];

fn equal(left: &Value, right: &Value) -> Result<bool, Fault> {
    match (left, right) {
        (Value::Nil, other) | (other, Value::Nil) => Ok(*other == Value::Nil),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        _ => order(left, right).map(Ordering::is_eq),
    }
}

fn ordered(call: &Call<'_>, is: fn(Ordering) -> bool) -> Result<Value, Fault> {
    order(call.value(0), call.value(1)).map(|order| Value::Bool(is(order)))
}

fn index(call: &Call<'_>) -> Result<Value, Fault> {
    let mut value = call.value(0).clone();
    for (at, key) in call.arguments.iter().enumerate().skip(1) {
        value = match (value, key) {
            (Value::Map(entries), Value::Text(key)) => {
                entries.get(key.as_str()).cloned().unwrap_or(Value::Nil)
            }
            (Value::List(items), Value::Int(place)) => {
                let found = usize::try_from(*place).ok().and_then(|place| items.get(place));
                found.cloned().ok_or_else(|| {
                    call.fault(format!("the list has {} items, none at {place}", items.len()))
                })?
            }
            (Value::List(_), _) => return Err(call.unfit(at, "the place in a list")),
            (Value::Map(_), _) => return Err(call.unfit(at, "the key of a map")),
            (other, _) => {
                return Err(call.fault(format!("{} has no items", other.kind())));
            }
        };
    }
    Ok(value)
}

fn slice(call: &Call<'_>) -> Result<Value, Fault> {
    let outside = || call.fault("the places are outside of it");
    let from = if call.arguments.len() > 1 { call.count(1)? } else { 0 };
    let to = if call.arguments.len() > 2 { Some(call.count(2)?) } else { None };
    match call.value(0) {
        Value::Number(text) | Value::Text(text) => {
            let part = text.get(from..to.unwrap_or(text.len())).ok_or_else(outside)?;
            Ok(Value::text(part))
        }
        Value::List(items) => {
            let part = items.get(from..to.unwrap_or(items.len())).ok_or_else(outside)?;
            Ok(Value::list(part.iter().cloned()))
        }
        _ => Err(call.unfit(0, "a text or a list")),
    }
}

/// Whether a list has the item, or a text the part.
pub(super) fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => whole.contains(part.as_str()),
        (Value::List(items), Value::Int(_) | Value::Float(_) | Value::Text(_)) => {
            items.contains(part)
        }
        _ => false,
    }
}

/// Whether what is known of each item of the first argument, that the second holds it, decides so.
fn some(call: &Call<'_>, decide: fn(&[bool]) -> bool) -> Result<Value, Fault> {
    let wanted = call.items(0)?;
    let found: Vec<bool> = wanted.iter().map(|item| holds(call.value(1), item)).collect();
    Ok(Value::Bool(decide(&found)))
}
