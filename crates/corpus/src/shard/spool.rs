//! Shuffling more than fits into memory: documents go into buckets of neighbouring places, then each bucket is sorted.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;

/// More files than this are not opened at once; buckets grow instead.
const MAX_BUCKETS: u64 = 256;

/// Where every bucket ends, in places: each holds about `bucket_bytes`. `sizes` are the documents' bytes in the order
/// of their places.
pub(crate) fn bucket_ends(
    sizes: impl Iterator<Item = u64>,
    total: u64,
    bucket_bytes: u64,
) -> Vec<u32> {
    let limit = bucket_bytes.max(total.div_ceil(MAX_BUCKETS)).max(1);
    let mut ends = Vec::new();
    let mut filled = 0;
    let mut place = 0;
    for size in sizes {
        if filled > 0 && filled + size > limit && (ends.len() as u64) < MAX_BUCKETS - 1 {
            ends.push(place);
            filled = 0;
        }
        filled += size;
        place += 1;
    }
    ends.push(place);
    ends
}

/// Lines by place, in unnamed temporary files that vanish with the process.
pub(crate) struct Spool {
    files: Vec<BufWriter<File>>,
    ends: Vec<u32>,
}

impl Spool {
    /// Empty buckets in `folder` that end at these places.
    pub(crate) fn new(folder: &Path, ends: Vec<u32>) -> io::Result<Self> {
        let file = |_| Ok(BufWriter::with_capacity(1 << 16, tempfile::tempfile_in(folder)?));
        let files = ends.iter().map(file).collect::<io::Result<_>>()?;
        Ok(Self { files, ends })
    }

    /// Puts a line at a place.
    pub(crate) fn push(&mut self, place: u32, line: &[u8]) -> io::Result<()> {
        let bucket = self.ends.partition_point(|end| *end <= place);
        let file = &mut self.files[bucket];
        file.write_all(&place.to_le_bytes())?;
        file.write_all(&(line.len() as u64).to_le_bytes())?;
        file.write_all(line)
    }

    /// The buckets in the order of their places.
    pub(crate) fn into_buckets(self) -> impl Iterator<Item = io::Result<Bucket>> {
        self.files.into_iter().map(|writer| {
            let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            Bucket::read(file)
        })
    }
}

/// The lines of neighbouring places.
pub(crate) struct Bucket {
    bytes: Vec<u8>,
    /// Where each line lies, by place.
    lines: Vec<(u32, Range<usize>)>,
}

impl Bucket {
    fn read(file: File) -> io::Result<Self> {
        let mut reader = BufReader::new(file);
        let mut bucket = Self { bytes: Vec::new(), lines: Vec::new() };
        let mut place = [0; 4];
        while reader.read(&mut place[..1])? == 1 {
            reader.read_exact(&mut place[1..])?;
            let mut length = [0; 8];
            reader.read_exact(&mut length)?;
            let start = bucket.bytes.len();
            let length = u64::from_le_bytes(length);
            (&mut reader).take(length).read_to_end(&mut bucket.bytes)?;
            bucket.lines.push((u32::from_le_bytes(place), start..bucket.bytes.len()));
        }
        bucket.lines.sort_unstable_by_key(|(place, _)| *place);
        Ok(bucket)
    }

    /// The places and their lines, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.lines.iter().map(|(place, range)| (*place, &self.bytes[range.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_may() {
        let ends =
            |sizes: &[u64], limit| bucket_ends(sizes.iter().copied(), sizes.iter().sum(), limit);
        assert_eq!(ends(&[1, 1, 1, 1], 2), [2, 4]);
        assert_eq!(ends(&[5, 1, 1, 9], 2), [1, 3, 4]);
        assert_eq!(ends(&[1, 1, 1, 1], 100), [4]);
        assert_eq!(ends(&[0, 0], 1), [2]);
        let many = ends(&[10; 100_000], 10);
        assert!(many.len() <= MAX_BUCKETS as usize && many.is_sorted());
        assert_eq!(many.last(), Some(&100_000));
    }

    #[test]
    fn lines_come_back_in_the_order_of_their_places() {
        let folder = tempfile::tempdir().unwrap();
        for ends in [vec![100], vec![10, 11, 60, 100]] {
            let mut spool = Spool::new(folder.path(), ends).unwrap();
            for n in 0..100u32 {
                let place = n * 37 % 100;
                spool
                    .push(place, format!("line {place}{}", "x".repeat(place as usize)).as_bytes())
                    .unwrap();
            }
            let mut expected = 0;
            for bucket in spool.into_buckets() {
                for (place, line) in bucket.unwrap().lines() {
                    assert_eq!(place, expected);
                    assert!(line.starts_with(format!("line {place}").as_bytes()));
                    expected += 1;
                }
            }
            assert_eq!(expected, 100);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
