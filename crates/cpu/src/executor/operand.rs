//! An input or output of a step, bound to memory.

use kiln_graph::TensorType;

use crate::simd::Element;

/// Most inputs, and most outputs, that an op has.
pub(super) const MAX_OPERANDS: usize = 12;

/// Address and type of a value.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    data: *mut u8,
    ty: Option<TensorType>,
}

impl Operand {
    pub(super) const NONE: Operand = Operand { data: std::ptr::null_mut(), ty: None };

    pub(super) fn new(data: *mut u8, ty: TensorType) -> Self {
        Operand { data, ty: Some(ty) }
    }

    pub(super) fn ty(&self) -> TensorType {
        self.ty.expect("the step has this operand")
    }

    pub(super) fn len(&self) -> usize {
        self.ty().len()
    }

    pub(super) fn dims(&self) -> [usize; 4] {
        let shape = self.ty().shape();
        let mut dims = [1; 4];
        dims[..shape.rank()].copy_from_slice(shape.dims());
        dims
    }

    /// Rows and last extent.
    pub(super) fn matrix(&self) -> (usize, usize) {
        let shape = self.ty().shape();
        (shape.rows(), shape.last())
    }

    pub(super) fn ptr(&self) -> *mut f32 {
        self.data.cast()
    }

    /// Whether both lie at one address.
    pub(super) fn is(&self, other: &Operand) -> bool {
        self.data == other.data
    }

    /// # Safety
    /// The memory must be alive, hold values of T, and not be written to while the slice is.
    pub(super) unsafe fn values<'a, T: Element>(&self) -> &'a [T] {
        // SAFETY: the caller's; the executor's memory is aligned for any element.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len()) }
    }

    /// # Safety
    /// The memory must be alive, hold values of T, and not be used otherwise while the slice is.
    pub(super) unsafe fn values_mut<'a, T: Element>(&self) -> &'a mut [T] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.data.cast(), self.len()) }
    }

    /// # Safety
    /// As of [`values`](Self::values).
    pub(super) unsafe fn f32<'a>(&self) -> &'a [f32] {
        // SAFETY: the caller's.
        unsafe { self.values() }
    }

    /// # Safety
    /// As of [`values`](Self::values).
    pub(super) unsafe fn i32<'a>(&self) -> &'a [i32] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len()) }
    }

    /// # Safety
    /// As of [`values_mut`](Self::values_mut).
    pub(super) unsafe fn i32_mut<'a>(&self) -> &'a mut [i32] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.data.cast(), self.len()) }
    }

    /// # Safety
    /// As of [`values_mut`](Self::values_mut).
    pub(super) unsafe fn f32_mut<'a>(&self) -> &'a mut [f32] {
        // SAFETY: the caller's.
        unsafe { self.values_mut() }
    }
}
