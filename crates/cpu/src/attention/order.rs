//! In which order the blocks of all heads are worked on.

/// Head and rank among its blocks of a task: as many heads at a time as there are threads, so that each thread tends to
/// stay with one head, whose rows its cache then holds; inside such a batch, all first blocks before all second ones.
/// Callers let low ranks stand for much work.
pub(super) fn head_and_rank(
    task: usize,
    heads: usize,
    blocks: usize,
    threads: usize,
) -> (usize, usize) {
    let (batch, task) = (task / (threads * blocks), task % (threads * blocks));
    let first = batch * threads;
    let batch = (heads - first).min(threads);
    (first + task % batch, task / batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_comes_once_and_after_the_lower_ranks_of_its_head() {
        for (heads, blocks, threads) in [(1, 5, 3), (6, 4, 4), (7, 1, 2), (8, 3, 1), (5, 2, 16)] {
            let mut next_rank = vec![0; heads];
            for task in 0..heads * blocks {
                let (head, rank) = head_and_rank(task, heads, blocks, threads);
                assert_eq!(rank, next_rank[head], "task {task} of {heads} x {blocks}");
                next_rank[head] += 1;
            }
            assert!(next_rank.iter().all(|&n| n == blocks));
        }
    }
}
