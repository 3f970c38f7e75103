// SPDX-License-Identifier: MIT
// A fixed-capacity queue that overwrites its oldest value when it is full.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ringlog {

/**
 * A queue of at most `capacity()` values.
 *
 * Pushing to a full buffer drops the oldest value, so the buffer always holds
 * the most recent values in the order in which they were pushed.
 */
template <typename T>
class RingBuffer {
public:
    using value_type = T;
    using size_type = std::size_t;

    /// Walks over the values of a buffer, from the oldest to the newest.
    class ConstIterator {
    public:
        /// Creates an iterator that points at the given position of a buffer.
        ConstIterator(const RingBuffer& buffer, size_type position) noexcept
            : buffer_(&buffer), position_(position) {}

        /// Returns the value that the iterator points at.
        const T& operator*() const noexcept { return (*buffer_)[position_]; }

        /// Moves to the next newer value.
        ConstIterator& operator++() noexcept {
            ++position_;
            return *this;
        }

        /// Returns true when the two iterators point at different positions.
        bool operator!=(const ConstIterator& other) const noexcept {
            return position_ != other.position_;
        }

    private:
        const RingBuffer* buffer_;
        size_type position_;
    };

    /// Creates an empty buffer with room for `capacity` values.
    explicit RingBuffer(size_type capacity = 64) : slots_(capacity) {
        if (capacity == 0) {
            throw std::invalid_argument("ring buffer capacity must be positive");
        }
    }

    /// Returns the number of values in the buffer.
    size_type size() const noexcept { return size_; }

    /// Returns the largest number of values that the buffer can hold.
    size_type capacity() const noexcept { return slots_.size(); }

    /// Returns true when the buffer holds no value.
    bool empty() const noexcept { return size_ == 0; }

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

    /// Removes and returns the oldest value.
    T pop() {
        if (empty()) {
            throw std::out_of_range("pop from an empty ring buffer");
        }
        T value = std::move(slots_[head_]);
        head_ = (head_ + 1) % slots_.size();
        --size_;
        return value;
    }

    /// Returns the value at a position, where zero is the oldest.
    const T& operator[](size_type position) const noexcept {
        return slots_[slot_of(position)];
    }

    /// Returns an iterator to the oldest value.
    ConstIterator begin() const noexcept { return ConstIterator(*this, 0); }

    /// Returns an iterator past the newest value.
    ConstIterator end() const noexcept { return ConstIterator(*this, size_); }

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
    for (const T& value : buffer) {
        if (predicate(value)) {
            ++count;
        }
    }
    return count;
}

}  // namespace ringlog
