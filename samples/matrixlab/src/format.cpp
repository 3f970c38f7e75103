// SPDX-License-Identifier: MIT
#include <iomanip>
#include <ostream>
#include <sstream>

#include "matrixlab/statistics.hpp"

namespace matrixlab {

/// Throws when a number of decimals is negative.
static void require(int decimals) {
    if (decimals < 0) {
        throw std::invalid_argument("number of decimals is negative");
    }
}

/// Returns a number with a fixed count of decimals.
std::string to_text(double number, int decimals) {
    require(decimals);
    std::ostringstream stream;
    stream << std::fixed << std::setprecision(decimals) << number;
    return stream.str();
}

/// Returns a matrix as lines of aligned columns.
std::string to_text(const Matrix<double>& matrix, int decimals) {
    std::size_t width = 0;
    for (const double element : matrix.elements()) {
        width = std::max(width, to_text(element, decimals).size());
    }
    std::ostringstream stream;
    for (std::size_t row = 0; row < matrix.rows(); ++row) {
        for (std::size_t column = 0; column < matrix.columns(); ++column) {
            stream << (column == 0 ? "" : "  ") << std::setw(static_cast<int>(width));
            stream << to_text(matrix(row, column), decimals);
        }
        stream << '\n';
    }
    return stream.str();
}

/// Writes a matrix as lines of aligned columns.
std::ostream& operator<<(std::ostream& output, const Matrix<double>& matrix) {
    return output << to_text(matrix);
}

}  // namespace matrixlab
