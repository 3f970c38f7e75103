//! Sparse attention as it is defined, in f64.

use crate::sparse::Dims;

/// Inputs, and the gradient of the output.
pub struct Case {
    pub dims: Dims,
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    pub iq: Vec<f64>,
    pub ik: Vec<f64>,
    pub iw: Vec<f64>,
    pub dout: Vec<f64>,
}

/// Gradients of q, k, v, iq, ik, iw.
pub type Gradients = [Vec<f64>; 6];

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Case {
    fn iq(&self, row: usize, query: usize, j: usize) -> usize {
        ((row * self.dims.t + query) * self.dims.heads + j) * self.dims.width
    }

    /// Products of a key with the heads of a query.
    fn products(&self, row: usize, query: usize, key: usize) -> Vec<f64> {
        let Dims { positions, heads, width, .. } = self.dims;
        let ik = &self.ik[(row * positions + key) * width..][..width];
        (0..heads).map(|j| dot(&self.iq[self.iq(row, query, j)..][..width], ik)).collect()
    }

    pub fn score(&self, row: usize, query: usize, key: usize) -> f64 {
        let Dims { t, heads, .. } = self.dims;
        let w = &self.iw[(row * t + query) * heads..][..heads];
        self.products(row, query, key).iter().zip(w).map(|(a, w)| w * a.max(0.0)).sum()
    }

    /// The keys that a query at `position` sees, in order, by its scores.
    pub fn select(&self, scores: &[f64], position: usize) -> Vec<usize> {
        let Dims { local, top_k, .. } = self.dims;
        let remote = (position + 1).saturating_sub(local);
        let mut keys: Vec<usize> = (0..remote).rev().collect();
        keys.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        keys.truncate(top_k - local);
        keys.extend(remote..=position);
        keys.sort_unstable();
        keys
    }

    fn row(&self, data: &'static str, row: usize, at: usize, head: usize) -> &[f64] {
        let Dims { t, positions, h, k_heads, d, .. } = self.dims;
        let (data, len, heads) = match data {
            "q" => (&self.q, t, h),
            "dout" => (&self.dout, t, h),
            "k" => (&self.k, positions, k_heads),
            _ => (&self.v, positions, k_heads),
        };
        &data[((row * len + at) * heads + head) * d..][..d]
    }

    /// Probabilities of the selected keys, and the log of their denominator.
    fn probabilities(
        &self,
        (row, query, head): (usize, usize, usize),
        keys: &[usize],
    ) -> (Vec<f64>, f64) {
        let k_head = head / (self.dims.h / self.dims.k_heads);
        let scale = 1.0 / (self.dims.d as f64).sqrt();
        let q = self.row("q", row, query, head);
        let scores: Vec<f64> =
            keys.iter().map(|&key| scale * dot(q, self.row("k", row, key, k_head))).collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let lse = most + scores.iter().map(|s| (s - most).exp()).sum::<f64>().ln();
        (scores.iter().map(|s| (s - lse).exp()).collect(), lse)
    }

    /// Output and log-sum-exp, where query (row, t) sees `seen(row, t)`.
    pub fn forward(&self, seen: &dyn Fn(usize, usize) -> Vec<usize>) -> (Vec<f64>, Vec<f64>) {
        let Dims { b, t, h, k_heads, d, .. } = self.dims;
        let (mut out, mut lses) = (vec![0.0; self.q.len()], vec![0.0; b * h * t]);
        for (row, query) in (0..b).flat_map(|row| (0..t).map(move |query| (row, query))) {
            let keys = seen(row, query);
            for head in 0..h {
                let (p, lse) = self.probabilities((row, query, head), &keys);
                lses[(row * h + head) * t + query] = lse;
                let out = &mut out[((row * t + query) * h + head) * d..][..d];
                for (p, &key) in p.iter().zip(&keys) {
                    let v = self.row("v", row, key, head / (h / k_heads));
                    out.iter_mut().zip(v).for_each(|(out, v)| *out += p * v);
                }
            }
        }
        (out, lses)
    }

    /// Gradients, with the straight-through one for the indexer.
    pub fn backward(&self, seen: &dyn Fn(usize, usize) -> Vec<usize>) -> Gradients {
        let Dims { b, t, h, k_heads, d, local, .. } = self.dims;
        let [mut dq, mut dk, mut dv] = [&self.q, &self.k, &self.v].map(|x| vec![0.0; x.len()]);
        let mut dscores = vec![0.0; b * t * t];
        let scale = 1.0 / (d as f64).sqrt();
        for (row, query) in (0..b).flat_map(|row| (0..t).map(move |query| (row, query))) {
            let keys = seen(row, query);
            let mut sums = vec![0.0; keys.len()];
            for head in 0..h {
                let k_head = head / (h / k_heads);
                let (p, _) = self.probabilities((row, query, head), &keys);
                let dout = self.row("dout", row, query, head);
                let dp: Vec<f64> =
                    keys.iter().map(|&key| dot(dout, self.row("v", row, key, k_head))).collect();
                let delta = dot(&p, &dp);
                for (i, &key) in keys.iter().enumerate() {
                    let ds = p[i] * (dp[i] - delta);
                    sums[i] += ds;
                    let at_q = ((row * t + query) * h + head) * d;
                    let at_k = ((row * t + key) * k_heads + k_head) * d;
                    for c in 0..d {
                        dq[at_q + c] += scale * ds * self.k[at_k + c];
                        dk[at_k + c] += scale * ds * self.q[at_q + c];
                        dv[at_k + c] += p[i] * dout[c];
                    }
                }
            }
            for (sum, key) in sums.into_iter().zip(keys) {
                if query - key >= local {
                    let gate = 1.0 / (1.0 + (-0.1 * self.score(row, query, key)).exp());
                    dscores[(row * t + query) * t + key] = 0.1 * gate * (1.0 - gate) * sum;
                }
            }
        }
        let [diq, dik, diw] = self.indexer_backward(&dscores);
        [dq, dk, dv, diq, dik, diw]
    }

    /// Gradients of the indexer from those of its scores, `[b, t, t]`; later keys do not count.
    pub fn indexer_backward(&self, dscores: &[f64]) -> [Vec<f64>; 3] {
        let Dims { b, t, heads, width, .. } = self.dims;
        let [mut diq, mut dik, mut diw] =
            [&self.iq, &self.ik, &self.iw].map(|x| vec![0.0; x.len()]);
        for (row, query) in (0..b).flat_map(|row| (0..t).map(move |query| (row, query))) {
            for key in 0..=query {
                let d = dscores[(row * t + query) * t + key];
                for (j, a) in self.products(row, query, key).into_iter().enumerate() {
                    let (at_q, at_k) = (self.iq(row, query, j), (row * t + key) * width);
                    let at_w = (row * t + query) * heads + j;
                    diw[at_w] += d * a.max(0.0);
                    for c in 0..if a > 0.0 { width } else { 0 } {
                        diq[at_q + c] += d * self.iw[at_w] * self.ik[at_k + c];
                        dik[at_k + c] += d * self.iw[at_w] * self.iq[at_q + c];
                    }
                }
            }
        }
        [diq, dik, diw]
    }
}
