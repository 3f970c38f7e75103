// SPDX-License-Identifier: MIT
// ringlog: a bounded in-memory log with levels, channels and pluggable sinks.
#pragma once

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ringlog/record.hpp"
#include "ringlog/sinks.hpp"

/// Logs the arguments at level Info.
#define RINGLOG_INFO(logger, ...) (logger).log(::ringlog::Level::Info, __VA_ARGS__)

/// Logs the arguments at level Error.
#define RINGLOG_ERROR(logger, ...) (logger).log(::ringlog::Level::Error, __VA_ARGS__)

namespace ringlog {

/// Returns the current time of a logger.
using Clock = std::function<Timestamp()>;

Timestamp steady_clock_now();

/// Joins its arguments into one string, in the way that a stream prints them.
template <typename... Args>
std::string join(const Args&... args) {
    std::ostringstream stream;
    (stream << ... << args);
    return stream.str();
}

/**
 * Sends records to a list of sinks.
 *
 * Records below the threshold are discarded before their text is built, so a
 * disabled level costs one comparison.
 */
class Logger {
public:
    explicit Logger(std::string channel, Level threshold = Level::Info,
                    Clock clock = steady_clock_now);

    Logger(const Logger&) = delete;
    Logger& operator=(const Logger&) = delete;

    /// Changes the least urgent level that is still logged.
    void set_threshold(Level level) noexcept { threshold_ = level; }

    /// Returns true when records of the level reach the sinks.
    bool enabled(Level level) const noexcept { return level >= threshold_; }

    /// Creates a sink, adds it to the logger and returns it.
    template <typename SinkType, typename... Args>
    SinkType& add_sink(Args&&... args) {
        auto sink = std::make_unique<SinkType>(std::forward<Args>(args)...);
        SinkType& added = *sink;
        sinks_.push_back(std::move(sink));
        return added;
    }

    /// Logs the arguments, joined into one message.
    template <typename... Args>
    void log(Level level, const Args&... args) {
        if (enabled(level)) {
            dispatch(level, join(args...));
        }
    }

private:
    void dispatch(Level level, std::string message);

    std::string channel_;
    Level threshold_;
    Clock clock_;
    std::vector<std::unique_ptr<Sink>> sinks_;
};

}  // namespace ringlog
