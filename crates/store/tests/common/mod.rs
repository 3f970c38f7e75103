//! What the tests share.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod moto;
pub mod proxy;
pub mod web;

use std::time::Duration;

use kiln_store::{Location, Patience, Store};

pub fn at(url: &str) -> Location {
    Location::parse(url).unwrap()
}

/// Gives up soon.
pub const HASTY: Patience =
    Patience { first: Duration::from_millis(100), later: Duration::from_millis(100) };

/// A store whose S3 is at an endpoint.
pub fn s3_at(endpoint: &str, patience: Patience) -> Store {
    let variables = moto::variables(endpoint);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    Store::with_variables(&variables, patience)
}

/// Bytes that repeat nowhere near.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}
