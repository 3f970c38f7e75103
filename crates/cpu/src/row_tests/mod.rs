//! Kernels over rows against the same in f64, for every element type and instruction set, at sizes that vectors do not
//! divide.

mod embedding;
mod gates;
mod norms;
mod rotations;
mod updates;

use crate::simd::Element;
use crate::{Context, Isa};
use half::bf16;

/// Contexts of every instruction set, one and more threads.
fn contexts() -> Vec<Context> {
    Isa::available()
        .into_iter()
        .flat_map(|isa| [1, 3].map(|threads| Context::new(isa, threads)))
        .collect()
}

/// Values in -2.1..2.2, none of them special.
fn values<X: Element>(n: usize, seed: usize) -> Vec<X> {
    (0..n).map(|i| X::from_f32(((i * 37 + seed * 101) % 211) as f32 / 49.0 - 2.1)).collect()
}

fn wide<X: Element>(x: &[X]) -> Vec<f64> {
    x.iter().map(|x| f64::from(x.to_f32())).collect()
}

/// Place of a bf16 in the order of all of them.
fn rank(x: bf16) -> i32 {
    let bits = i32::from(x.to_bits() & 0x7fff);
    if x.is_sign_negative() { -bits } else { bits }
}

/// Asserts that f32 values are `want` up to what sums in f32 lose, and that bf16 ones are it rounded, or the next to that.
fn agree<X: Element>(got: &[X], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1.0, |m: f64, w| m.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let near = (f64::from(got.to_f32()) - want).abs() <= 3e-6 * largest;
        let next = || {
            let distance = rank(bf16::from_f32(got.to_f32())) - rank(bf16::from_f64(*want));
            size_of::<X>() == 2 && distance.abs() <= 1
        };
        assert!(near || next(), "{what}: {got:?} at {i} is not {want}");
    }
}

/// Asserts that the copy is the values, rounded.
fn is_copy(copy: &[bf16], of: &[f32], what: &str) {
    let want: Vec<bf16> = of.iter().map(|&x| bf16::from_f32(x)).collect();
    assert_eq!(copy, want, "{what}");
}
