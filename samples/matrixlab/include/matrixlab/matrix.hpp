// SPDX-License-Identifier: MIT
// matrixlab: small dense matrices, linear systems and statistics.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace matrixlab {

/// The shapes of two operands do not fit together.
class ShapeError : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// A dense matrix whose elements are stored row after row.
template <typename T = double>
class Matrix {
public:
    /// Creates a matrix whose elements all have the same value.
    Matrix(std::size_t rows, std::size_t columns, T value = T{0})
        : rows_(rows), columns_(columns), elements_(rows * columns, value) {}

    /// Creates a matrix from its rows, which must all have the same length.
    Matrix(std::initializer_list<std::initializer_list<T>> rows)
        : Matrix(rows.size(), rows.size() == 0 ? 0 : rows.begin()->size()) {
        auto output = elements_.begin();
        for (const auto& row : rows) {
            if (row.size() != columns_) {
                throw ShapeError("rows differ in length");
            }
            output = std::copy(row.begin(), row.end(), output);
        }
    }

    /// Returns the square matrix with ones on its diagonal and zeros elsewhere.
    static Matrix identity(std::size_t size) {
        Matrix result(size, size);
        for (std::size_t index = 0; index < size; ++index) {
            result(index, index) = T{1};
        }
        return result;
    }

    /// Returns the number of rows.
    std::size_t rows() const noexcept { return rows_; }

    /// Returns the number of columns.
    std::size_t columns() const noexcept { return columns_; }

    /// Returns the element in a row and a column.
    T& operator()(std::size_t row, std::size_t column) noexcept {
        return elements_[row * columns_ + column];
    }

    /// Returns the element in a row and a column.
    const T& operator()(std::size_t row, std::size_t column) const noexcept {
        return elements_[row * columns_ + column];
    }

    /// Returns the elements, row after row.
    const std::vector<T>& elements() const noexcept { return elements_; }

    /// Returns the matrix with rows and columns exchanged.
    Matrix transposed() const {
        Matrix result(columns_, rows_);
        for (std::size_t row = 0; row < rows_; ++row) {
            for (std::size_t column = 0; column < columns_; ++column) {
                result(column, row) = (*this)(row, column);
            }
        }
        return result;
    }

    /// Adds another matrix, element by element.
    Matrix& operator+=(const Matrix& other) { return combine(other, std::plus<T>()); }

    /// Subtracts another matrix, element by element.
    Matrix& operator-=(const Matrix& other) { return combine(other, std::minus<T>()); }

    /// Returns true when two matrices have the same shape and the same elements.
    friend bool operator==(const Matrix& left, const Matrix& right) noexcept {
        return left.columns_ == right.columns_ && left.elements_ == right.elements_;
    }

private:
    /// Replaces each element by a function of it and the one in the same place of `other`.
    template <typename Function>
    Matrix& combine(const Matrix& other, Function function) {
        if (rows_ != other.rows_ || columns_ != other.columns_) {
            throw ShapeError("matrices differ in shape");
        }
        std::transform(elements_.begin(), elements_.end(), other.elements_.begin(),
                       elements_.begin(), function);
        return *this;
    }

    std::size_t rows_;
    std::size_t columns_;
    std::vector<T> elements_;
};

/// Returns the sum of two matrices.
template <typename T>
Matrix<T> operator+(Matrix<T> left, const Matrix<T>& right) {
    return left += right;
}

/// Returns the difference of two matrices.
template <typename T>
Matrix<T> operator-(Matrix<T> left, const Matrix<T>& right) {
    return left -= right;
}

/// Returns the product of two matrices.
template <typename T>
Matrix<T> operator*(const Matrix<T>& left, const Matrix<T>& right) {
    if (left.columns() != right.rows()) {
        throw ShapeError("matrices cannot be multiplied");
    }
    Matrix<T> result(left.rows(), right.columns());
    for (std::size_t row = 0; row < left.rows(); ++row) {
        for (std::size_t inner = 0; inner < left.columns(); ++inner) {
            for (std::size_t column = 0; column < right.columns(); ++column) {
                result(row, column) += left(row, inner) * right(inner, column);
            }
        }
    }
    return result;
}

}  // namespace matrixlab
