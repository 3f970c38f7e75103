//! Zeroed memory straight from the system, in huge pages where it grants them.

use kiln_graph::ExecuteError;
use memmap2::MmapMut;

/// From this size on, huge pages are asked for: products walk through memory with far fewer address look-ups.
const HUGE: usize = 4 << 20;

/// Zeroed, page-aligned memory. Pages that are never touched cost nothing.
pub(crate) struct Memory {
    map: Option<MmapMut>,
}

impl Memory {
    /// `bytes` of zeroed memory; `what` is for the error message.
    pub(crate) fn new(bytes: usize, what: &str) -> Result<Memory, ExecuteError> {
        if bytes == 0 {
            return Ok(Memory { map: None });
        }
        let map = MmapMut::map_anon(bytes)
            .map_err(|_| ExecuteError::OutOfMemory { bytes, what: what.to_owned() })?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE {
            // A refusal costs speed, nothing else.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Memory { map: Some(map) })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.map.as_ref().map_or(0, |m| m.len())
    }

    /// Address of the first byte. The executor writes through it while it holds `&mut` access to itself.
    pub(crate) fn as_ptr(&mut self) -> *mut u8 {
        self.map
            .as_mut()
            .map_or(std::ptr::NonNull::<u64>::dangling().as_ptr().cast(), |m| m.as_mut_ptr())
    }

    /// Address of the first byte, for reading.
    pub(crate) fn as_const_ptr(&self) -> *const u8 {
        self.map
            .as_ref()
            .map_or(std::ptr::NonNull::<u64>::dangling().as_ptr().cast_const().cast(), |m| {
                m.as_ptr()
            })
    }

    /// The first `len` values from `offset` bytes on.
    ///
    /// # Panics
    /// When they do not lie inside.
    pub(crate) fn f32(&self, offset: usize, len: usize) -> &[f32] {
        if len == 0 {
            return &[];
        }
        let bytes = &self.map.as_ref().expect("memory of some size")[offset..offset + 4 * len];
        assert!(bytes.as_ptr().cast::<f32>().is_aligned());
        // SAFETY: inside the map, aligned, and any bits are an f32.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), len) }
    }

    /// The first `len` values, for writing.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn f32_mut(&mut self, len: usize) -> &mut [f32] {
        if len == 0 {
            return &mut [];
        }
        let bytes = &mut self.map.as_mut().expect("memory of some size")[..4 * len];
        // SAFETY: inside the map, page-aligned, and any bits are an f32.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
    }
}
