// SPDX-License-Identifier: MIT
// Solves linear systems by LU decomposition with row exchanges.
#pragma once

#include <cmath>
#include <utility>

#include "matrixlab/matrix.hpp"

namespace matrixlab {

/**
 * A square matrix split into a lower and an upper triangle.
 *
 * Both triangles share one matrix; the ones on the diagonal of the lower
 * triangle are not stored.
 */
template <typename T>
class LuDecomposition {
public:
    /// Decomposes a square matrix, or throws when it is singular.
    explicit LuDecomposition(Matrix<T> matrix) : lu_(std::move(matrix)), order_(lu_.rows()) {
        if (lu_.rows() != lu_.columns()) {
            throw ShapeError("matrix is not square");
        }
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        for (std::size_t step = 0; step < lu_.rows(); ++step) {
            exchange_rows(step, pivot_row(step));
            eliminate(step);
        }
    }

    /// Returns the determinant of the matrix.
    T determinant() const noexcept {
        T product = sign_;
        for (std::size_t index = 0; index < lu_.rows(); ++index) {
            product *= lu_(index, index);
        }
        return product;
    }

    /// Returns the matrix `X` for which the decomposed matrix times `X` is `right`.
    Matrix<T> solve(const Matrix<T>& right) const {
        if (right.rows() != lu_.rows()) {
            throw ShapeError("right-hand side has the wrong number of rows");
        }
        Matrix<T> result(right.rows(), right.columns());
        for (std::size_t column = 0; column < right.columns(); ++column) {
            for (std::size_t row = 0; row < lu_.rows(); ++row) {
                result(row, column) = right(order_[row], column);
                subtract_known(result, row, column, 0, row);
            }
            for (std::size_t row = lu_.rows(); row-- > 0;) {
                subtract_known(result, row, column, row + 1, lu_.rows());
                result(row, column) /= lu_(row, row);
            }
        }
        return result;
    }

private:
    /// Returns the row with the largest element in the column of this step.
    std::size_t pivot_row(std::size_t step) const {
        std::size_t best = step;
        for (std::size_t row = step + 1; row < lu_.rows(); ++row) {
            if (std::abs(lu_(row, step)) > std::abs(lu_(best, step))) {
                best = row;
            }
        }
        if (lu_(best, step) == T{0}) {
            throw std::domain_error("matrix is singular");
        }
        return best;
    }

    /// Exchanges two rows and remembers that it did.
    void exchange_rows(std::size_t first, std::size_t second) noexcept {
        if (first == second) {
            return;
        }
        for (std::size_t column = 0; column < lu_.columns(); ++column) {
            std::swap(lu_(first, column), lu_(second, column));
        }
        std::swap(order_[first], order_[second]);
        sign_ = -sign_;
    }

    /// Clears the column of this step below the diagonal.
    void eliminate(std::size_t step) noexcept {
        for (std::size_t row = step + 1; row < lu_.rows(); ++row) {
            const T factor = lu_(row, step) / lu_(step, step);
            lu_(row, step) = factor;
            for (std::size_t column = step + 1; column < lu_.columns(); ++column) {
                lu_(row, column) -= factor * lu_(step, column);
            }
        }
    }

    /// Subtracts the part of a row's equation that is known already.
    void subtract_known(Matrix<T>& result, std::size_t row, std::size_t column,
                        std::size_t first, std::size_t last) const noexcept {
        for (std::size_t index = first; index < last; ++index) {
            result(row, column) -= lu_(row, index) * result(index, column);
        }
    }

    Matrix<T> lu_;
    std::vector<std::size_t> order_;
    T sign_ = T{1};
};

/// Returns the matrix `X` for which `left` times `X` is `right`.
template <typename T>
Matrix<T> solve(const Matrix<T>& left, const Matrix<T>& right) {
    return LuDecomposition<T>(left).solve(right);
}

/// Returns the inverse of a square matrix.
template <typename T>
Matrix<T> inverse(const Matrix<T>& matrix) {
    return solve(matrix, Matrix<T>::identity(matrix.rows()));
}

}  // namespace matrixlab
