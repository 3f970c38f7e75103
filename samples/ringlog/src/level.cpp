// SPDX-License-Identifier: MIT
#include "ringlog/level.hpp"

#include <array>

namespace ringlog {
namespace {

/// The names of the levels, in the order of the enumeration.
constexpr std::array<std::string_view, kLevelCount> kNames = {
    "trace", "debug", "info", "warning", "error",
};

}  // namespace

/// Returns the lower-case name of a level.
std::string_view to_string(Level level) noexcept {
    return kNames[static_cast<std::size_t>(rank(level))];
}

}  // namespace ringlog
