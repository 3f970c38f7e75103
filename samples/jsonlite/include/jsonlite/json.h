// SPDX-License-Identifier: MIT
// Conversions between values and JSON text.
#ifndef JSONLITE_JSON_H
#define JSONLITE_JSON_H

#include <iosfwd>
#include <string>
#include <string_view>

#include "jsonlite/value.h"

namespace jsonlite {

/// A text is not valid JSON.
class ParseError : public std::runtime_error {
public:
    /// Creates an error for a line, counted from one.
    ParseError(const std::string& message, int line)
        : std::runtime_error("line " + std::to_string(line) + ": " + message), line_(line) {}

    /// Returns the line of the error, counted from one.
    int line() const noexcept { return line_; }

private:
    int line_;
};

/// Returns the value of a JSON text, or throws a ParseError.
Value parse(std::string_view text);

/// Returns the JSON text of a value; an indent of zero puts it on one line.
std::string to_string(const Value& value, int indent = 0);

std::ostream& operator<<(std::ostream& output, const Value& value);

namespace detail {

/// Where the writer stands: the text so far and the layout of the next line.
struct Writer {
    std::string text;
    int indent = 0;
    int depth = 0;
};

void write(Writer& writer, const Value& value);
void write(Writer& writer, std::nullptr_t);
void write(Writer& writer, bool boolean);
void write(Writer& writer, double number);
void write(Writer& writer, const Array& array);
void write(Writer& writer, const Object& object);
void write(Writer& writer, const std::string& string);

}  // namespace detail
}  // namespace jsonlite

#endif  // JSONLITE_JSON_H
