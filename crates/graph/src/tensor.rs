//! Shapes and element types.

use std::fmt;

/// Element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DType {
    /// 32-bit float: values, statistics, parameters.
    F32,
    /// 16-bit float with the exponent of f32: operands of products, where they are asked for.
    Bf16,
    /// 32-bit signed integer: token ids, targets, positions.
    I32,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::Bf16 => 2,
        }
    }

    /// Whether elements are floats.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::Bf16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
            DType::I32 => "i32",
        })
    }
}

/// Most axes that a tensor has: `[B, T, H, D]`.
pub const MAX_RANK: usize = 4;

/// Extents of a dense row-major tensor of at most four axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape of up to four axes.
    ///
    /// # Panics
    /// With more than four axes: no op has any.
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "a tensor has at most {MAX_RANK} axes, not {}", dims.len());
        let mut all = [1; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Shape { dims: all, rank: dims.len() }
    }

    /// Extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements; the largest number where they cannot be counted, so that no memory is found for them.
    pub fn len(&self) -> usize {
        self.dims().iter().fold(1, |n: usize, &d| n.saturating_mul(d))
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extent of the last axis (1 for a shape without axes).
    pub fn last(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Number of rows when all axes but the last are taken as one.
    pub fn rows(&self) -> usize {
        self.dims()
            .split_last()
            .map_or(1, |(_, outer)| outer.iter().fold(1, |n: usize, &d| n.saturating_mul(d)))
    }

    /// The same shape with another last extent.
    pub fn with_last(&self, last: usize) -> Shape {
        let mut dims = *self;
        if dims.rank > 0 {
            dims.dims[dims.rank - 1] = last;
        }
        dims
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Element type and shape of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    dtype: DType,
    shape: Shape,
}

impl TensorType {
    /// A tensor type.
    pub fn new(dtype: DType, shape: Shape) -> Self {
        TensorType { dtype, shape }
    }

    /// f32 values of the given extents.
    pub fn f32(dims: &[usize]) -> Self {
        TensorType::new(DType::F32, Shape::new(dims))
    }

    /// bf16 values of the given extents.
    pub fn bf16(dims: &[usize]) -> Self {
        TensorType::new(DType::Bf16, Shape::new(dims))
    }

    /// i32 values of the given extents.
    pub fn i32(dims: &[usize]) -> Self {
        TensorType::new(DType::I32, Shape::new(dims))
    }

    /// As many elements of another type.
    pub fn with_dtype(self, dtype: DType) -> Self {
        TensorType { dtype, ..self }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.len().saturating_mul(self.dtype.size())
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
