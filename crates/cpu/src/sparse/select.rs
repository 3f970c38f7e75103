//! From the scores of a query to the keys that it sees.

use super::KEYS;
use crate::simd::{SET_BITS, Simd};

/// What decides which keys outside the local window a query sees: those above the threshold, and those equal to it from
/// the boundary on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub threshold: f32,
    pub boundary: usize,
}

impl Cut {
    pub(super) const ALL: Cut = Cut { threshold: f32::NEG_INFINITY, boundary: 0 };
    pub(super) const NONE: Cut = Cut { threshold: f32::INFINITY, boundary: i32::MAX as usize };
}

/// With fewer values than this, ranking them one by one is fastest.
const FEW: usize = 192;

/// Values that are looked at to guess between which two the wanted one lies.
const SAMPLE: usize = 64;

/// The first `n` bits.
#[inline(always)]
fn low_bits(n: usize) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// The cut that leaves the best `wanted` of `scores`. There is no NaN among them, and there are as many more values as a
/// vector holds behind them; `buffer` has room for all of these.
#[inline(always)]
pub(super) fn cut<S: Simd>(
    s: S,
    scores: &[f32],
    n: usize,
    wanted: usize,
    buffer: &mut [f32],
) -> Cut {
    if wanted == 0 {
        return Cut::NONE;
    }
    if wanted >= n {
        return Cut::ALL;
    }
    let threshold = ranked(s, scores, n, wanted, buffer);
    let mut above = 0;
    let pivot = s.splat(threshold);
    for i in (0..n).step_by(S::LANES) {
        let at_most = s.mask_ge(pivot, s.load(&scores[i..]));
        above += (!at_most & low_bits(S::LANES.min(n - i))).count_ones() as usize;
    }
    let mut missing = wanted - above;
    let mut i = n.next_multiple_of(S::LANES);
    loop {
        i -= S::LANES;
        let x = s.load(&scores[i..]);
        let mut equal = s.mask_ge(pivot, x) & s.mask_ge(x, pivot);
        equal &= low_bits(S::LANES.min(n - i));
        let here = equal.count_ones() as usize;
        if here >= missing {
            for _ in 0..here - missing {
                equal &= equal - 1;
            }
            return Cut { threshold, boundary: i + equal.trailing_zeros() as usize };
        }
        missing -= here;
    }
}

/// The value of rank `wanted` (1 is the largest) among the first `n` of `scores`: values between two of a sample are kept
/// until few are left. (Floyd and Rivest, 1975.)
#[inline(always)]
fn ranked<S: Simd>(s: S, scores: &[f32], n: usize, wanted: usize, buffer: &mut [f32]) -> f32 {
    assert!(buffer.len() >= n + S::LANES && scores.len() >= n.next_multiple_of(S::LANES));
    // How many are left, which of them is wanted, and whether they lie in the buffer.
    let (mut left, mut rank, mut kept) = (n, wanted, false);
    while left > FEW {
        let (low, high) = bracket(s, if kept { buffer } else { scores }, left, rank);
        let to = buffer.as_mut_ptr();
        let from = if kept { to.cast_const() } else { scores.as_ptr() };
        // SAFETY: the lengths were checked above; where values are kept in place, writing trails reading.
        let (above, within) = unsafe { keep_between(s, from, left, (low, high), to) };
        if above >= rank || rank > above + within {
            // The sample misled.
            (left, rank, kept) = (n, wanted, false);
            break;
        }
        if low == high {
            return low;
        }
        let stuck = within == left;
        (left, rank, kept) = (within, rank - above, true);
        if stuck {
            break;
        }
    }
    if !kept {
        buffer[..n].copy_from_slice(&scores[..n]);
    }
    let (_, value, _) = buffer[..left].select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a));
    *value
}

/// Two values of a sample between which the one of rank `wanted` among `n` very probably lies.
#[inline(always)]
fn bracket<S: Simd>(s: S, values: &[f32], n: usize, wanted: usize) -> (f32, f32) {
    let mut sample = [0.0; SAMPLE];
    for (i, value) in sample.iter_mut().enumerate() {
        *value = values[i * n / SAMPLE];
    }
    let share = wanted as f32 / n as f32;
    // From the smallest value, in standard deviations of the rank.
    let middle = (1.0 - share) * SAMPLE as f32;
    let margin = 3.0 * (middle * share).sqrt() + 1.0;
    let at = |place: f32| (place as usize).min(SAMPLE - 1);
    let (below, above) = (at(middle - margin), at(middle + margin));
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for value in sample {
        // Of the sample in order, the value at a place is the largest that has no more below it.
        let (mut at_least, pivot) = (0, s.splat(value));
        for c in (0..SAMPLE).step_by(S::LANES) {
            at_least += s.mask_ge(s.load(&sample[c..]), pivot).count_ones() as usize;
        }
        low = if SAMPLE - at_least <= below { low.max(value) } else { low };
        high = if SAMPLE - at_least <= above { high.max(value) } else { high };
    }
    (
        if middle < margin { f32::NEG_INFINITY } else { low },
        if middle + margin >= SAMPLE as f32 { f32::INFINITY } else { high },
    )
}

/// Writes the values from `low` to `high` to `out`; returns the number of those above `high`, and of those written.
///
/// # Safety
/// `values` must be readable over `n` values in whole vectors, `out` writable over `n` values and a vector.
#[inline(always)]
unsafe fn keep_between<S: Simd>(
    s: S,
    values: *const f32,
    n: usize,
    (low, high): (f32, f32),
    out: *mut f32,
) -> (usize, usize) {
    let (low, high) = (s.splat(low), s.splat(high));
    let (mut above, mut within) = (0, 0);
    for i in (0..n).step_by(S::LANES) {
        let here = low_bits(S::LANES.min(n - i));
        // SAFETY: the caller's; at most i values were written so far.
        unsafe {
            let x = s.load_ptr(values.add(i));
            let at_most = s.mask_ge(high, x);
            above += (!at_most & here).count_ones() as usize;
            let mask = s.mask_ge(x, low) & at_most & here;
            s.compress_ptr(out.add(within), x, mask);
            within += mask.count_ones() as usize;
        }
    }
    (above, within)
}

/// Where the keys of one query are written.
pub(super) struct Row<'a> {
    /// Numbers inside blocks of [`KEYS`] keys, block after block.
    pub keys: &'a mut [u8],
    /// Where each block starts in `keys`, and where the last one ends.
    pub starts: &'a mut [u32],
    /// Scores of the keys, and words of signs: `[words, _]`.
    pub kept: Option<(&'a mut [f32], &'a mut [f32])>,
}

/// What a query found out about the keys: `scores`, and with `KEEP` `signs` `[words, row]`.
pub(super) struct Found<'a> {
    pub scores: &'a [f32],
    pub signs: &'a [f32],
    pub row: usize,
}

/// Lists what a query whose own key is the last before `end` sees.
#[inline(always)]
pub(super) fn list<S: Simd, const KEEP: bool>(
    s: S,
    found: &Found<'_>,
    (end, local): (usize, usize),
    cut: Cut,
    to: &mut Row<'_>,
) {
    let remote = end.saturating_sub(local);
    let (pivot, all) = (s.splat(cut.threshold), cut == Cut::ALL);
    let mut n = 0;
    for key in (0..end).step_by(S::LANES) {
        if key.is_multiple_of(KEYS) {
            to.starts[key / KEYS] = n as u32;
        }
        let mut mask = low_bits(S::LANES.min(end - key));
        if !all && key < remote {
            let x = s.load(&found.scores[key..]);
            let (at_least, at_most) = (s.mask_ge(x, pivot), s.mask_ge(pivot, x));
            let before = low_bits(cut.boundary.saturating_sub(key).min(S::LANES));
            let chosen = (!at_most & before) | (at_least & !before);
            mask &= chosen | !low_bits((remote - key).min(S::LANES));
        }
        for half in 0..S::LANES / 8 {
            let byte = (mask >> (8 * half)) as u8;
            let base = (key % KEYS + 8 * half) as u64 * 0x0101_0101_0101_0101;
            let numbers = u64::from_le_bytes(SET_BITS[usize::from(byte)]).wrapping_add(base);
            let at = n + (mask & low_bits(8 * half)).count_ones() as usize;
            to.keys[at..at + 8].copy_from_slice(&numbers.to_le_bytes());
        }
        if KEEP && let Some((scores, signs)) = &mut to.kept {
            let words = signs.len() / scores.len();
            assert!(n + S::LANES <= scores.len());
            // SAFETY: there is room for a vector from n on, in every word's row.
            unsafe {
                let x = s.load(&found.scores[key..]);
                s.compress_ptr(scores.as_mut_ptr().add(n), x, mask);
                for word in 0..words {
                    let x = s.load(&found.signs[word * found.row + key..]);
                    let to = signs.as_mut_ptr().add(word * scores.len() + n);
                    s.compress_ptr(to, x, mask);
                }
            }
        }
        n += mask.count_ones() as usize;
    }
    to.starts[end.div_ceil(KEYS)..].fill(n as u32);
}
