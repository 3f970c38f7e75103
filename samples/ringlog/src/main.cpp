// SPDX-License-Identifier: MIT
// Checks of the ringlog project. Exits 0 when all of them hold.
#include <iostream>
#include <sstream>

#include "ringlog/logger.hpp"

/// Counts and reports a condition that does not hold.
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            ++failures; \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n'; \
        } \
    } while (false)

namespace {

int failures = 0;

/// Returns a clock that advances by `step` milliseconds on every reading.
ringlog::Clock make_test_clock(ringlog::Timestamp step = 250) {
    return [now = ringlog::Timestamp{0}, step]() mutable {
        now += step;
        return now;
    };
}

/// Checks that levels are ordered and named.
void check_levels() {
    using ringlog::Level;
    static_assert(Level::Debug < Level::Error);
    CHECK(ringlog::to_string(Level::Warning) == "warning");
}

/// Checks that a full ring buffer drops its oldest values.
void check_ring_buffer() {
    ringlog::RingBuffer<int> buffer(3);
    for (int value = 1; value <= 5; ++value) {
        buffer.push(value);
    }
    CHECK(buffer.full());
    CHECK(buffer[0] == 3);
    CHECK(buffer[2] == 5);
    CHECK(ringlog::count_if(buffer, [](int value) { return value % 2 == 1; }) == 2);
}

/// Checks that records are laid out in columns on one line.
void check_format() {
    ringlog::Record record;
    record.time = 1042;
    record.channel = "net";
    record.message = "line one\nline two";
    CHECK(ringlog::format(record) == "1.042 info    [net] line one line two");
    CHECK(ringlog::text_layout::pad_right("ab", 4, '.') == "ab..");
}

/// Checks that each sink receives the records that pass the threshold.
void check_logger() {
    std::ostringstream output;
    ringlog::Logger logger("main", ringlog::Level::Info, make_test_clock());
    auto& memory = logger.add_sink<ringlog::sinks::Memory>(2);
    logger.add_sink<ringlog::sinks::Stream>(output);

    RINGLOG_INFO(logger, "listening on port ", 8080);
    RINGLOG_ERROR(logger, "connection lost after ", 1.5, " s");
    logger.log(ringlog::Level::Debug, "not shown");
    logger.set_threshold(ringlog::Level::Debug);
    logger.log(ringlog::Level::Debug, "shown");

    CHECK(memory.records().size() == 2);
    CHECK(memory.dropped() == 1);
    CHECK(memory.contains("connection lost"));
    CHECK(!memory.contains("listening"));
    CHECK(output.str().find("0.250 info    [main] listening on port 8080\n") == 0);
}

}  // namespace

/// Runs every check.
int main() {
    check_levels();
    check_ring_buffer();
    check_format();
    check_logger();
    std::cout << "ringlog: " << (failures == 0 ? "ok" : "failed") << '\n';
    return failures == 0 ? 0 : 1;
}
