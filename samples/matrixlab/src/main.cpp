// SPDX-License-Identifier: MIT
// Checks of the matrixlab project. Exits 0 when all of them hold.
#include <iostream>

#include "matrixlab/lu.hpp"
#include "matrixlab/statistics.hpp"

/// Counts and reports a condition that does not hold.
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            ++failures; \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n'; \
        } \
    } while (false)

namespace {

using matrixlab::Matrix;

int failures = 0;

/// Returns true when two numbers differ by rounding alone.
bool close(double left, double right) {
    return std::abs(left - right) <= 1e-9;
}

/// Returns true when two matrices differ by rounding alone.
bool close(const Matrix<double>& left, const Matrix<double>& right) {
    const Matrix<double> difference = left - right;
    const auto is_zero = [](double element) { return close(element, 0.0); };
    return std::all_of(difference.elements().begin(), difference.elements().end(), is_zero);
}

/// Checks the arithmetic of matrices.
void check_arithmetic() {
    const Matrix<int> a{{1, 2}, {3, 4}};
    const Matrix<int> b{{0, 1}, {1, 0}};
    CHECK((a + b == Matrix<int>{{1, 3}, {4, 4}}));
    CHECK((a * b == Matrix<int>{{2, 1}, {4, 3}}));
    CHECK((a + a - a == a));
    CHECK((a.transposed() == Matrix<int>{{1, 3}, {2, 4}}));
    CHECK(a * Matrix<int>::identity(2) == a);
}

/// Checks that linear systems are solved, and that singular ones are refused.
void check_linear_systems() {
    const Matrix<double> matrix{{0.0, 2.0, 1.0}, {1.0, 1.0, 0.0}, {2.0, 0.0, 3.0}};
    const Matrix<double> right{{7.0}, {3.0}, {11.0}};
    CHECK(close(matrix * matrixlab::solve(matrix, right), right));
    CHECK(close(matrix * matrixlab::inverse(matrix), Matrix<double>::identity(3)));
    CHECK(close(matrixlab::LuDecomposition<double>(matrix).determinant(), -8.0));
    try {
        matrixlab::inverse(Matrix<double>{{1.0, 2.0}, {2.0, 4.0}});
        CHECK(false);
    } catch (const std::domain_error&) {
        CHECK(true);
    }
}

/// Checks the statistics of samples.
void check_statistics() {
    const matrixlab::Samples samples{2.0, 4.0, 4.0, 6.0};
    CHECK(close(matrixlab::mean(samples), 4.0));
    CHECK(close(matrixlab::v1::variance(samples), 8.0 / 3.0));
    const auto line = matrixlab::fit_polynomial({0.0, 1.0, 2.0}, {1.0, 3.0, 5.0});
    CHECK(close(line[0], 1.0) && close(line[1], 2.0));
    CHECK(close(matrixlab::covariance({1.0, 2.0, 3.0}, {2.0, 4.0, 6.0}), 2.0));
}

/// Checks that columns are aligned.
void check_text() {
    CHECK(matrixlab::to_text(1.0 / 3.0) == "0.333");
    const Matrix<double> matrix{{1.0, -2.0}, {10.0, 0.5}};
    CHECK(matrixlab::to_text(matrix, 1) == " 1.0  -2.0\n10.0   0.5\n");
}

}  // namespace

/// Runs every check.
int main() {
    check_arithmetic();
    check_linear_systems();
    check_statistics();
    check_text();
    std::cout << "matrixlab: " << (failures == 0 ? "ok" : "failed") << '\n';
    return failures == 0 ? 0 : 1;
}
