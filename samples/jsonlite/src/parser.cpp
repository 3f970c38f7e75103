// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdlib>

#include "jsonlite/json.h"

namespace jsonlite {
namespace {

/// The deepest nesting that the parser accepts.
constexpr int kMaxDepth = 256;

/// Returns true when the character is a decimal digit.
constexpr bool is_digit(char character) noexcept {
    return character >= '0' && character <= '9';
}

/// Appends a code point to a string in UTF-8.
void append(std::string& text, unsigned code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
        return;
    }
    const int extra_bytes = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const unsigned marker = (0xFF00 >> (extra_bytes + 1)) & 0xFF;
    text += static_cast<char>(marker | (code >> (6 * extra_bytes)));
    for (int shift = 6 * (extra_bytes - 1); shift >= 0; shift -= 6) {
        text += static_cast<char>(0x80 | ((code >> shift) & 0x3F));
    }
}

/// Reads one JSON text from its first to its last character.
class Parser {
public:
    explicit Parser(std::string_view text) noexcept : text_(text) {}

    /// Reads the whole text as one value.
    Value parse_document() {
        Value value = parse_value(0);
        skip_blanks();
        if (position_ != text_.size()) {
            fail("unexpected text after the value");
        }
        return value;
    }

private:
    /// Reads a value of any type.
    Value parse_value(int depth) {
        if (depth > kMaxDepth) {
            fail("value is nested too deeply");
        }
        skip_blanks();
        switch (peek()) {
            case '{':
                return parse_object(depth);
            case '[':
                return parse_array(depth);
            case '"':
                return parse_string();
            default:
                return parse_literal();
        }
    }

    /// Reads the members of an object.
    Value parse_object(int depth) {
        Object members;
        expect('{');
        if (accept('}')) {
            return members;
        }
        do {
            skip_blanks();
            std::string key = parse_string();
            expect(':');
            members.push_back({std::move(key), parse_value(depth + 1)});
        } while (accept(','));
        expect('}');
        return members;
    }

    /// Reads the elements of an array.
    Value parse_array(int depth) {
        Array elements;
        expect('[');
        if (accept(']')) {
            return elements;
        }
        do {
            elements.push_back(parse_value(depth + 1));
        } while (accept(','));
        expect(']');
        return elements;
    }

    /// Reads a string with its quotation marks.
    std::string parse_string() {
        std::string string;
        expect('"');
        while (peek() != '"') {
            const char character = take();
            if (static_cast<unsigned char>(character) < 0x20) {
                fail("control character in a string");
            }
            if (character == '\\') {
                parse_escape(string);
            } else {
                string += character;
            }
        }
        take();
        return string;
    }

    /// Reads the rest of an escape sequence, after the backslash.
    void parse_escape(std::string& string) {
        static constexpr std::string_view kNames = "\"\\/bfnrt";
        static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
        const char name = take();
        if (name == 'u') {
            append(string, parse_code_point());
            return;
        }
        const std::size_t index = kNames.find(name);
        if (index == std::string_view::npos) {
            fail("unknown escape sequence");
        }
        string += kMeanings[index];
    }

    /// Reads four hexadecimal digits.
    unsigned parse_hex() {
        unsigned code = 0;
        for (int digit = 0; digit < 4; ++digit) {
            const std::size_t value = std::string_view("0123456789abcdefABCDEF").find(take());
            if (value == std::string_view::npos) {
                fail("malformed \\u escape");
            }
            code = code * 16 + static_cast<unsigned>(value < 16 ? value : value - 6);
        }
        return code;
    }

    /// Reads a code point, which may be written as a pair of surrogates.
    unsigned parse_code_point() {
        const unsigned high = parse_hex();
        if (high < 0xD800 || high > 0xDFFF) {
            return high;
        }
        if (high > 0xDBFF || take() != '\\' || take() != 'u') {
            fail("unpaired surrogate");
        }
        const unsigned low = parse_hex();
        if (low < 0xDC00 || low > 0xDFFF) {
            fail("unpaired surrogate");
        }
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }

    /// Reads one of the words `null`, `true` and `false`, or a number.
    Value parse_literal() {
        if (accept_word("null")) {
            return nullptr;
        }
        const bool is_true = accept_word("true");
        if (is_true || accept_word("false")) {
            return is_true;
        }
        return parse_number();
    }

    /// Reads a number: digits with an optional sign, fraction and exponent.
    double parse_number() {
        const std::size_t start = position_;
        accept_word("-");
        if (!accept_word("0")) {
            skip_digits();
        }
        if (accept_word(".")) {
            skip_digits();
        }
        if (accept_word("e") || accept_word("E")) {
            if (!accept_word("-")) {
                accept_word("+");
            }
            skip_digits();
        }
        const std::string digits(text_.substr(start, position_ - start));
        return std::strtod(digits.c_str(), nullptr);
    }

    /// Moves past one or more digits, or throws when there is none.
    void skip_digits() {
        if (!is_digit(peek())) {
            fail("malformed value");
        }
        while (position_ < text_.size() && is_digit(text_[position_])) {
            ++position_;
        }
    }

    /// Moves past a word when it comes next, and returns whether it did.
    bool accept_word(std::string_view word) noexcept {
        if (text_.substr(position_, word.size()) != word) {
            return false;
        }
        position_ += word.size();
        return true;
    }

    /// Moves past blanks and line breaks.
    void skip_blanks() noexcept {
        position_ = std::min(text_.find_first_not_of(" \t\r\n", position_), text_.size());
    }

    /// Returns the next character, or throws at the end.
    char peek() const {
        if (position_ == text_.size()) {
            fail("unexpected end");
        }
        return text_[position_];
    }

    /// Returns the next character and moves past it.
    char take() {
        const char character = peek();
        ++position_;
        return character;
    }

    /// Moves past a symbol when it comes next, and returns whether it did.
    bool accept(char symbol) {
        skip_blanks();
        if (peek() != symbol) {
            return false;
        }
        ++position_;
        return true;
    }

    /// Moves past a symbol, or throws when another one comes next.
    void expect(char symbol) {
        if (!accept(symbol)) {
            fail(std::string("expected '") + symbol + "'");
        }
    }

    /// Throws an error for the current line.
    [[noreturn]] void fail(const std::string& message) const {
        const std::string_view before = text_.substr(0, position_);
        const auto breaks = std::count(before.begin(), before.end(), '\n');
        throw ParseError(message, static_cast<int>(breaks) + 1);
    }

    std::string_view text_;
    std::size_t position_ = 0;
};

}  // namespace

/// Returns the value of a JSON text, or throws a ParseError.
Value parse(std::string_view text) {
    return Parser(text).parse_document();
}

}  // namespace jsonlite
