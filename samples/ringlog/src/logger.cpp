// SPDX-License-Identifier: MIT
#include "ringlog/logger.hpp"

#include <chrono>

namespace ringlog {

/// Returns the milliseconds of the monotonic clock of this machine.
Timestamp steady_clock_now() {
    using std::chrono::milliseconds;
    const auto elapsed = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<milliseconds>(elapsed).count();
}

/// Creates a logger without sinks.
Logger::Logger(std::string channel, Level threshold, Clock clock)
    : channel_(std::move(channel)), threshold_(threshold), clock_(std::move(clock)) {}

/// Builds a record and hands it to every sink, in the order they were added.
void Logger::dispatch(Level level, std::string message) {
    Record record;
    record.level = level;
    record.time = clock_();
    record.channel = channel_;
    record.message = std::move(message);
    for (const auto& sink : sinks_) {
        sink->write(record);
    }
}

}  // namespace ringlog
