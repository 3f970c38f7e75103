// SPDX-License-Identifier: MIT
// A fixed-capacity queue that overwrites its oldest value when it is full.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ringlog {

/**
 * A queue that holds a limited number of values.
 *
 * Pushing to a full buffer drops the oldest value, so the buffer always holds
 * the most recent values in the order in which they were pushed.
 */
template <typename T>
class RingBuffer {
public:
    using size_type = std::size_t;

    /// Creates an empty buffer with room for `capacity` values.
    explicit RingBuffer(size_type capacity = 64) : slots_(capacity) {
        if (capacity == 0) {
            throw std::invalid_argument("ring buffer capacity must be positive");
        }
    }

    /// Returns the number of values in the buffer.
    size_type size() const noexcept { return size_; }

    /// Returns true when the next push drops the oldest value.
    bool full() const noexcept { return size_ == slots_.size(); }

    /// Appends a value, and returns true when the oldest one was dropped for it.
    bool push(T value) {
        const bool dropped = full();
        slots_[slot_of(size_)] = std::move(value);
        if (dropped) {
            head_ = (head_ + 1) % slots_.size();
        } else {
            ++size_;
        }
        return dropped;
    }

    /// Returns the value at a position, where zero is the oldest.
    const T& operator[](size_type position) const noexcept {
        return slots_[slot_of(position)];
    }

private:
    /// Returns the index of the slot that stores the given position.
    size_type slot_of(size_type position) const noexcept {
        return (head_ + position) % slots_.size();
    }

    std::vector<T> slots_;
    size_type head_ = 0;
    size_type size_ = 0;
};

/// Returns the number of values in a buffer that satisfy a predicate.
template <typename T, typename Predicate>
std::size_t count_if(const RingBuffer<T>& buffer, Predicate predicate) {
    std::size_t count = 0;
    for (std::size_t position = 0; position < buffer.size(); ++position) {
        if (predicate(buffer[position])) {
            ++count;
        }
    }
    return count;
}

}  // namespace ringlog
