// SPDX-License-Identifier: MIT
#include <string>

#include "ringlog/record.hpp"

namespace ringlog {

/// The width of the level column: that of the longest level name.
static constexpr std::size_t kLevelWidth = 7;

/// Returns a number with leading zeros up to three digits.
static std::string three_digits(Timestamp value) {
    const std::string digits = std::to_string(value);
    return digits.size() < 3 ? std::string(3 - digits.size(), '0') + digits : digits;
}

/// Returns the text with every line break replaced by a blank.
static std::string single_line(std::string_view text) {
    std::string line(text);
    for (char& character : line) {
        if (character == '\r' || character == '\n') {
            character = ' ';
        }
    }
    return line;
}

inline namespace text_layout {

/// Returns the text with blanks added on the right up to the given width.
std::string pad_right(std::string_view text, std::size_t width, char fill) {
    std::string padded(text);
    if (padded.size() < width) {
        padded.append(width - padded.size(), fill);
    }
    return padded;
}

/// Returns a timestamp as seconds with three decimals, such as `12.345`.
std::string format(Timestamp time) {
    return std::to_string(time / 1000) + '.' + three_digits(time % 1000);
}

/// Returns a record as one line of text, without the newline.
std::string format(const Record& record) {
    std::string line = format(record.time);
    line += ' ';
    line += pad_right(to_string(record.level), kLevelWidth);
    line += " [" + record.channel + "] ";
    line += single_line(record.message);
    return line;
}

}  // namespace text_layout
}  // namespace ringlog
