// SPDX-License-Identifier: MIT
// Statistics of samples, and their layout as text.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "matrixlab/matrix.hpp"

namespace matrixlab {
inline namespace v1 {

using Samples = std::vector<double>;

double mean(const Samples& samples);
double variance(const Samples& samples);

/// Returns the covariance of two lists of samples of the same length.
double covariance(const Samples& left, const Samples& right);

/// Returns the coefficients of the polynomial that fits the points best, the constant first.
Samples fit_polynomial(const Samples& x, const Samples& y, std::size_t degree = 1);

}  // namespace v1

/// Returns a number with a fixed count of decimals.
std::string to_text(double number, int decimals = 3);

/// Returns a matrix as lines of aligned columns.
std::string to_text(const Matrix<double>& matrix, int decimals = 3);

std::ostream& operator<<(std::ostream& output, const Matrix<double>& matrix);

}  // namespace matrixlab
