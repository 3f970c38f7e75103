// SPDX-License-Identifier: MIT
#include "ringlog/sinks.hpp"

#include <numeric>
#include <ostream>
#include <stdexcept>

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

/// Flushes the stream.
void Stream::flush() {
    output_.flush();
}

/// Creates a sink that calls a function with each record.
Callback::Callback(Function function) : function_(std::move(function)) {
    if (!function_) {
        throw std::invalid_argument("callback sink needs a function");
    }
}

/// Passes the record to the function.
void Callback::write(const Record& record) {
    function_(record);
}

/// Counts the record under its level.
void Counter::write(const Record& record) {
    ++counts_[static_cast<std::size_t>(rank(record.level))];
}

/// Returns the number of records of one level.
std::size_t Counter::count(Level level) const noexcept {
    return counts_[static_cast<std::size_t>(rank(level))];
}

/// Returns the number of records of all levels.
std::size_t Counter::count() const noexcept {
    return std::accumulate(counts_.begin(), counts_.end(), std::size_t{0});
}

}  // namespace sinks

}  // namespace ringlog
