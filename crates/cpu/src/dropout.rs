//! Dropout whose choice follows from a key and each element's place.

use crate::Context;
use crate::parallel::{Raw, chunks};

/// Mixes all bits of x into all bits of the result (the finaliser of MurmurHash3).
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

/// What is dropped.
#[derive(Clone, Copy)]
pub struct Choice {
    /// Share that is dropped, less than 1.
    pub rate: f32,
    /// Tells dropouts under one key apart.
    pub salt: u32,
    /// Chooses the elements.
    pub key: [i32; 2],
}

/// `out = x / (1 - rate)`, or 0 for a share `rate` of the elements.
///
/// # Safety
/// Both must be valid for n values; out may be x.
pub unsafe fn dropout(cx: &Context, n: usize, x: *const f32, choice: Choice, out: *mut f32) {
    let (x, out) = (Raw::new(x), Raw::new(out));
    // Both words of the key and the salt, one after the other.
    let seed = mix(choice.key[0] as u32).wrapping_add(0x9e37_79b9);
    let seed = mix(seed ^ choice.key[1] as u32).wrapping_add(0x9e37_79b9);
    let seed = mix(seed ^ choice.salt);
    let limit = (f64::from(choice.rate) * f64::from(u32::MAX)) as u32;
    let factor = 1.0 / (1.0 - choice.rate);
    chunks(cx, n, &|chunk, start, len| {
        // Places beyond 2^32 would come round again: each chunk has a seed of its own.
        let seed = mix(seed ^ chunk as u32).wrapping_add((chunk >> 32) as u32);
        for i in 0..len {
            let kept = mix(seed.wrapping_add((i as u32).wrapping_mul(0x9e37_79b9))) >= limit;
            // SAFETY: the chunk lies inside both.
            unsafe {
                let value = *x.get().add(start + i);
                *out.get().add(start + i) = if kept { value * factor } else { 0.0 };
            }
        }
    });
}
