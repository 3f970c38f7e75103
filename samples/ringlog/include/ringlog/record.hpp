// SPDX-License-Identifier: MIT
// One logged message, and the functions that lay it out as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ringlog/level.hpp"

namespace ringlog {

/// Milliseconds since the start of the clock that the logger was given.
using Timestamp = std::int64_t;

/// A message together with the circumstances in which it was logged.
struct Record {
    Level level = Level::Info;
    Timestamp time = 0;
    std::string channel;
    std::string message;
};

inline namespace text_layout {

/// Returns a record as one line of text, without the newline.
std::string format(const Record& record);

/// Returns a timestamp as seconds with three decimals, such as `12.345`.
std::string format(Timestamp time);

/// Returns the text with blanks added on the right up to the given width.
std::string pad_right(std::string_view text, std::size_t width, char fill = ' ');

}  // namespace text_layout
}  // namespace ringlog
