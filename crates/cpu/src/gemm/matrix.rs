//! A read-only strided view: how operands are named without being copied.

/// A `rows` x `cols` matrix inside a slice: element (i, j) is `data[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T: Copy> Matrix<'a, T> {
    /// A view with any strides, in values.
    ///
    /// # Panics
    /// When an element lies outside `data`.
    pub fn new(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        if rows > 0 && cols > 0 {
            let last = (rows - 1)
                .checked_mul(row_stride)
                .zip((cols - 1).checked_mul(col_stride))
                .and_then(|(row, col)| row.checked_add(col));
            assert!(
                last.is_some_and(|last| last < data.len()),
                "{rows} x {cols} with strides {row_stride}, {col_stride} does not fit {} values",
                data.len()
            );
        }
        Matrix { data, rows, cols, row_stride, col_stride }
    }

    /// A contiguous row-major matrix.
    ///
    /// # Panics
    /// When `data` holds fewer than `rows · cols` values.
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Matrix::new(data, rows, cols, cols, 1)
    }

    /// The transpose; no value moves.
    pub fn t(self) -> Self {
        Matrix {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The part of `rows` x `cols` whose first element is (`row`, `col`).
    ///
    /// # Panics
    /// When the part does not lie inside the matrix.
    pub fn part(self, row: usize, col: usize, rows: usize, cols: usize) -> Self {
        assert!(
            row <= self.rows
                && rows <= self.rows - row
                && col <= self.cols
                && cols <= self.cols - col,
            "part of {rows} x {cols} at ({row}, {col}) of {} x {}",
            self.rows,
            self.cols
        );
        let start = (row * self.row_stride + col * self.col_stride).min(self.data.len());
        Matrix { data: &self.data[start..], rows, cols, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance between vertically adjacent elements.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Distance between horizontally adjacent elements.
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// Element (0, 0) and what follows it.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Whether each row lies contiguously.
    pub fn has_contiguous_rows(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }
}
