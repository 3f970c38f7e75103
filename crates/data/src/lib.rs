//! Documents to batches: readers, packing, prefetch and exact resume.
