// SPDX-License-Identifier: MIT
// Severity levels of the ringlog project, and their names.
#pragma once

#include <string_view>

namespace ringlog {

/// Severity of a record, from the least to the most urgent.
enum class Level { Trace, Debug, Info, Warning, Error };

/// The number of severity levels.
constexpr int kLevelCount = 5;

/// Returns the position of a level in the order of severity, starting at zero.
constexpr int rank(Level level) noexcept {
    return static_cast<int>(level);
}

/// Returns the lower-case name of a level.
std::string_view to_string(Level level) noexcept;

}  // namespace ringlog
