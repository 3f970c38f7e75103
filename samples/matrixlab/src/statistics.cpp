// SPDX-License-Identifier: MIT
#include "matrixlab/statistics.hpp"

#include "matrixlab/lu.hpp"

namespace matrixlab {

/// Throws when there are fewer samples than a statistic needs.
static void require(const Samples& samples, std::size_t count) {
    if (samples.size() < count) {
        throw std::invalid_argument("too few samples");
    }
}

inline namespace v1 {

/// Returns the arithmetic mean.
double mean(const Samples& samples) {
    require(samples, 1);
    const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
    return sum / static_cast<double>(samples.size());
}

/// Returns the covariance of two lists of samples of the same length.
double covariance(const Samples& left, const Samples& right) {
    require(left, 2);
    if (left.size() != right.size()) {
        throw ShapeError("lists of samples differ in length");
    }
    const double left_mean = mean(left);
    const double right_mean = mean(right);
    double sum = 0.0;
    for (std::size_t index = 0; index < left.size(); ++index) {
        sum += (left[index] - left_mean) * (right[index] - right_mean);
    }
    return sum / static_cast<double>(left.size() - 1);
}

/// Returns the unbiased variance.
double variance(const Samples& samples) {
    return covariance(samples, samples);
}

/// Returns the coefficients of the polynomial that fits the points best, the constant first.
Samples fit_polynomial(const Samples& x, const Samples& y, std::size_t degree) {
    require(x, degree + 1);
    if (x.size() != y.size()) {
        throw ShapeError("lists of samples differ in length");
    }
    Matrix<double> powers(x.size(), degree + 1, 1.0);
    Matrix<double> values(y.size(), 1);
    for (std::size_t row = 0; row < x.size(); ++row) {
        values(row, 0) = y[row];
        for (std::size_t column = 1; column <= degree; ++column) {
            powers(row, column) = powers(row, column - 1) * x[row];
        }
    }
    const Matrix<double> transposed = powers.transposed();
    return solve(transposed * powers, transposed * values).elements();
}

}  // namespace v1
}  // namespace matrixlab
