// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ostream>

#include "jsonlite/json.h"

namespace jsonlite {

/// Appends the escape sequence of a control character.
static void append(std::string& text, char character) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(character));
    text += buffer;
}

namespace detail {

/// Writes a value of any type.
void write(Writer& writer, const Value& value) {
    value.visit([&writer](const auto& content) { write(writer, content); });
}

/// Writes null.
void write(Writer& writer, std::nullptr_t) {
    writer.text += "null";
}

/// Writes a boolean.
void write(Writer& writer, bool boolean) {
    writer.text += boolean ? "true" : "false";
}

/// Writes the shortest number that reads back to the same value.
void write(Writer& writer, double number) {
    if (!std::isfinite(number)) {
        write(writer, nullptr);
        return;
    }
    char buffer[32];
    for (int precision = 15; precision <= 17; ++precision) {
        std::snprintf(buffer, sizeof buffer, "%.*g", precision, number);
        if (std::strtod(buffer, nullptr) == number) {
            break;
        }
    }
    writer.text += buffer;
}

/// Writes a string with quotation marks and escapes; `é` and its like stay as they are.
void write(Writer& writer, const std::string& string) {
    writer.text += '"';
    for (const char character : string) {
        if (character == '"' || character == '\\') {
            writer.text += '\\';
            writer.text += character;
        } else if (static_cast<unsigned char>(character) < 0x20) {
            append(writer.text, character);
        } else {
            writer.text += character;
        }
    }
    writer.text += '"';
}

}  // namespace detail

/// Returns the JSON text of a value; an indent of zero puts it on one line.
std::string to_string(const Value& value, int indent) {
    detail::Writer writer;
    writer.indent = indent;
    detail::write(writer, value);
    return writer.text;
}

/// Writes a value on one line.
std::ostream& operator<<(std::ostream& output, const Value& value) {
    return output << to_string(value);
}

}  // namespace jsonlite
