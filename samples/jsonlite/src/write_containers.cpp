// SPDX-License-Identifier: MIT
#include "jsonlite/json.h"

namespace jsonlite::detail {

/// Starts a new line at the current depth, unless everything is on one line.
static void append(Writer& writer) {
    if (writer.indent > 0) {
        writer.text += '\n';
        writer.text.append(static_cast<std::size_t>(writer.indent * writer.depth), ' ');
    }
}

/// Writes the items of a container between brackets, separated by commas.
template <typename Container, typename WriteItem>
static void write_items(Writer& writer, const Container& items, const char* brackets,
                        WriteItem write_item) {
    writer.text += brackets[0];
    ++writer.depth;
    bool first = true;
    for (const auto& item : items) {
        if (!first) {
            writer.text += ',';
        }
        first = false;
        append(writer);
        write_item(item);
    }
    --writer.depth;
    if (!items.empty()) {
        append(writer);
    }
    writer.text += brackets[1];
}

/// Writes the elements of an array.
void write(Writer& writer, const Array& array) {
    write_items(writer, array, "[]", [&writer](const Value& element) { write(writer, element); });
}

/// Writes the members of an object.
void write(Writer& writer, const Object& object) {
    write_items(writer, object, "{}", [&writer](const Member& member) {
        write(writer, member.key);
        writer.text += writer.indent > 0 ? ": " : ":";
        write(writer, member.value);
    });
}

}  // namespace jsonlite::detail
