// SPDX-License-Identifier: MIT
#include "ringlog/sinks.hpp"

#include <ostream>

namespace ringlog {

/// Returns true when the message of a record contains the text.
static bool matches(const Record& record, std::string_view text) noexcept {
    return record.message.find(text) != std::string::npos;
}

namespace sinks {

/// Creates a sink that keeps at most `capacity` records.
Memory::Memory(std::size_t capacity) : records_(capacity) {}

/// Stores a copy of the record, dropping the oldest one when there is no room.
void Memory::write(const Record& record) {
    if (records_.push(record)) {
        ++dropped_;
    }
}

/// Returns true when the message of any held record contains the text.
bool Memory::contains(std::string_view text) const {
    const auto predicate = [text](const Record& record) { return matches(record, text); };
    return count_if(records_, predicate) > 0;
}

/// Creates a sink that writes to a stream, which must outlive the sink.
Stream::Stream(std::ostream& output) noexcept : output_(output) {}

/// Writes the record as one line.
void Stream::write(const Record& record) {
    output_ << format(record) << '\n';
}

}  // namespace sinks
}  // namespace ringlog
