// SPDX-License-Identifier: MIT
// Severity levels of the ringlog project, and their names.
#pragma once

#include <optional>
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

/// Returns true when the left level is less urgent than the right one.
constexpr bool operator<(Level left, Level right) noexcept {
    return rank(left) < rank(right);
}

/// Returns true when the left level is at least as urgent as the right one.
constexpr bool operator>=(Level left, Level right) noexcept {
    return !(left < right);
}

/// Returns the lower-case name of a level.
std::string_view to_string(Level level) noexcept;

/// Returns the level with the given name, or nothing when there is none.
std::optional<Level> parse_level(std::string_view name) noexcept;

}  // namespace ringlog
