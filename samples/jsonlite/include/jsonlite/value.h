// SPDX-License-Identifier: MIT
// jsonlite: a JSON value, its parser and its writer.
#ifndef JSONLITE_VALUE_H
#define JSONLITE_VALUE_H

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace jsonlite {

class Value;
struct Member;

using Array = std::vector<Value>;

/// The members of an object, in the order in which they were added.
using Object = std::vector<Member>;

/// A value was used as if it had another type.
class TypeError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The types of values, in the order of the alternatives of `Value`.
enum class Type { Null, Boolean, Number, String, Array, Object };

/// Null, a boolean, a number, a string, an array or an object.
class Value {
public:
    Value() noexcept = default;
    Value(std::nullptr_t) noexcept;
    Value(bool boolean) noexcept;
    Value(int number) noexcept;
    Value(double number) noexcept;
    Value(const char* string);
    Value(std::string string) noexcept;
    Value(Array array) noexcept;
    Value(Object object) noexcept;

    /// Returns the type of the value.
    Type type() const noexcept { return static_cast<Type>(data_.index()); }

    /// Returns true when the value is null.
    bool is_null() const noexcept { return type() == Type::Null; }

    /// Returns the content as a `T`, or throws when the value has another type.
    template <typename T>
    const T& as() const {
        const T* found = std::get_if<T>(&data_);
        if (found == nullptr) {
            throw TypeError("JSON value has another type");
        }
        return *found;
    }

    /// Calls the visitor with the content, whatever its type.
    template <typename Visitor>
    void visit(Visitor visitor) const {
        std::visit(visitor, data_);
    }

    std::size_t size() const noexcept;
    void push_back(Value element);

    const Value* find(std::string_view key) const noexcept;
    Value& operator[](std::string_view key);
    const Value& operator[](std::size_t index) const;

    friend bool operator==(const Value& left, const Value& right);

private:
    template <typename T>
    T& become();

    std::variant<std::nullptr_t, bool, double, std::string, Array, Object> data_;
};

/// A key of an object and its value.
struct Member {
    std::string key;
    Value value;
};

/// Returns true when two members have the same key and the same value.
inline bool operator==(const Member& left, const Member& right) {
    return left.key == right.key && left.value == right.value;
}

}  // namespace jsonlite

#endif  // JSONLITE_VALUE_H
