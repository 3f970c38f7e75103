// SPDX-License-Identifier: MIT
// The places that records can go to.
#pragma once

#include <iosfwd>
#include <string_view>

#include "ringlog/record.hpp"
#include "ringlog/ring_buffer.hpp"

namespace ringlog {

/// Receives the records of a logger.
class Sink {
public:
    virtual ~Sink() = default;

    /// Takes one record.
    virtual void write(const Record& record) = 0;
};

namespace sinks {

/// Keeps the most recent records in memory.
class Memory final : public Sink {
public:
    explicit Memory(std::size_t capacity = 64);

    void write(const Record& record) override;

    /// Returns the records that are still held, oldest first.
    const RingBuffer<Record>& records() const noexcept { return records_; }

    /// Returns the number of records that were dropped to make room.
    std::size_t dropped() const noexcept { return dropped_; }

    bool contains(std::string_view text) const;

private:
    RingBuffer<Record> records_;
    std::size_t dropped_ = 0;
};

/// Writes each record as one line to an output stream.
class Stream final : public Sink {
public:
    explicit Stream(std::ostream& output) noexcept;

    void write(const Record& record) override;

private:
    std::ostream& output_;
};

}  // namespace sinks
}  // namespace ringlog
