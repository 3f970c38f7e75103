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

/// Returns one column of a matrix.
static Samples column_of(const Matrix<double>& matrix, std::size_t column) {
    Samples samples;
    for (std::size_t row = 0; row < matrix.rows(); ++row) {
        samples.push_back(matrix(row, column));
    }
    return samples;
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

/// Returns the value below which a fraction of the samples lies, by linear interpolation.
double quantile(Samples samples, double fraction) {
    require(samples, 1);
    std::sort(samples.begin(), samples.end());
    const double position = std::clamp(fraction, 0.0, 1.0) * static_cast<double>(samples.size() - 1);
    const auto lower = static_cast<std::size_t>(position);
    const std::size_t upper = std::min(lower + 1, samples.size() - 1);
    const double weight = position - static_cast<double>(lower);
    return (1.0 - weight) * samples[lower] + weight * samples[upper];
}

/// Returns the matrix of covariances between the columns of a matrix.
Matrix<double> covariance(const Matrix<double>& observations) {
    const std::size_t size = observations.columns();
    Matrix<double> result(size, size);
    for (std::size_t row = 0; row < size; ++row) {
        for (std::size_t column = 0; column < size; ++column) {
            result(row, column) =
                covariance(column_of(observations, row), column_of(observations, column));
        }
    }
    return result;
}

/// Returns the coefficients of the polynomial that fits the points best, the constant first.
Samples fit_polynomial(const Samples& x, const Samples& y, std::size_t degree) {
    require(x, degree + 1);
    Matrix<double> powers(x.size(), degree + 1, 1.0);
    Matrix<double> values(y.size(), 1);
    std::copy(y.begin(), y.end(), &values(0, 0));
    for (std::size_t row = 0; row < x.size(); ++row) {
        for (std::size_t column = 1; column <= degree; ++column) {
            powers(row, column) = powers(row, column - 1) * x[row];
        }
    }
    const Matrix<double> transposed = powers.transposed();
    return solve(transposed * powers, transposed * values).elements();
}

}  // namespace v1

}  // namespace matrixlab
