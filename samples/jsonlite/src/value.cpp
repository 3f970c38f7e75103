// SPDX-License-Identifier: MIT
#include "jsonlite/value.h"

#include <algorithm>

namespace jsonlite {

/// Creates a null value.
Value::Value(std::nullptr_t) noexcept : data_(nullptr) {}

/// Creates a boolean value.
Value::Value(bool boolean) noexcept : data_(boolean) {}

/// Creates a number from an integer.
Value::Value(int number) noexcept : data_(static_cast<double>(number)) {}

/// Creates a number.
Value::Value(double number) noexcept : data_(number) {}

/// Creates a string from a literal.
Value::Value(const char* string) : data_(std::string(string)) {}

/// Creates a string.
Value::Value(std::string string) noexcept : data_(std::move(string)) {}

/// Creates an array.
Value::Value(Array array) noexcept : data_(std::move(array)) {}

/// Creates an object.
Value::Value(Object object) noexcept : data_(std::move(object)) {}

/// Returns the content as a `T`; a null value becomes an empty `T` first.
template <typename T>
T& Value::become() {
    if (is_null()) {
        data_ = T{};
    }
    return const_cast<T&>(as<T>());
}

/// Returns the number of elements or members, and zero for other types.
std::size_t Value::size() const noexcept {
    if (const auto* array = std::get_if<Array>(&data_)) {
        return array->size();
    }
    const auto* object = std::get_if<Object>(&data_);
    return object == nullptr ? 0 : object->size();
}

/// Appends an element to an array.
void Value::push_back(Value element) {
    become<Array>().push_back(std::move(element));
}

/// Returns the member with a key, or a null pointer when there is none.
const Value* Value::find(std::string_view key) const noexcept {
    const auto* object = std::get_if<Object>(&data_);
    if (object == nullptr) {
        return nullptr;
    }
    const auto has_key = [key](const Member& member) { return member.key == key; };
    const auto found = std::find_if(object->begin(), object->end(), has_key);
    return found == object->end() ? nullptr : &found->value;
}

/// Returns the member with a key, and adds it when there is none.
Value& Value::operator[](std::string_view key) {
    Object& object = become<Object>();
    if (const Value* found = find(key)) {
        return const_cast<Value&>(*found);
    }
    object.push_back({std::string(key), Value()});
    return object.back().value;
}

/// Returns the element at an index, or throws when there is none.
const Value& Value::operator[](std::size_t index) const {
    return as<Array>().at(index);
}

/// Returns true when two values are equal; the order of members does not matter.
bool operator==(const Value& left, const Value& right) {
    if (left.type() != Type::Object || right.type() != Type::Object) {
        return left.data_ == right.data_;
    }
    const Object& members = left.as<Object>();
    const auto is_shared = [&right](const Member& member) {
        const Value* other = right.find(member.key);
        return other != nullptr && *other == member.value;
    };
    return left.size() == right.size() && std::all_of(members.begin(), members.end(), is_shared);
}

}  // namespace jsonlite
