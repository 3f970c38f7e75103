// SPDX-License-Identifier: MIT
#include "exprcalc/lexer.h"

#include <cctype>

namespace exprcalc {
namespace {

/// Returns true when the character is part of a number.
bool is_number_character(char character) noexcept {
    return std::isdigit(static_cast<unsigned char>(character)) != 0 || character == '.';
}

/// Returns true when the character is part of a name.
bool is_name_character(char character) noexcept {
    return std::isalnum(static_cast<unsigned char>(character)) != 0 || character == '_';
}

/// Returns the first position at or after `start` whose character fails the predicate.
template <typename Predicate>
std::size_t skip_while(std::string_view source, std::size_t start, Predicate predicate) {
    while (start < source.size() && predicate(source[start])) {
        ++start;
    }
    return start;
}

}  // namespace

/// Returns a readable name of a token for error messages.
static std::string describe(const Token& token) {
    return token.kind == TokenKind::End ? "the end" : "'" + token.text + "'";
}

/// Returns the tokens of a text; the last one always has the kind `End`.
std::vector<Token> tokenize(std::string_view source) {
    static constexpr std::string_view kSymbols = "+-*/%^(),";
    const auto is_blank = [](char character) { return character == ' ' || character == '\t'; };
    std::vector<Token> tokens;
    std::size_t position = skip_while(source, 0, is_blank);
    while (position < source.size()) {
        const char first = source[position];
        std::size_t end = position + 1;
        TokenKind kind = TokenKind::Symbol;
        if (is_number_character(first)) {
            kind = TokenKind::Number;
            end = skip_while(source, position, is_number_character);
        } else if (is_name_character(first)) {
            kind = TokenKind::Identifier;
            end = skip_while(source, position, is_name_character);
        } else if (kSymbols.find(first) == std::string_view::npos) {
            throw SyntaxError("unexpected character", position);
        }
        tokens.push_back({kind, std::string(source.substr(position, end - position)), position});
        position = skip_while(source, end, is_blank);
    }
    tokens.push_back({TokenKind::End, "", source.size()});
    return tokens;
}

/// Creates a stream over the tokens of a text.
TokenStream::TokenStream(std::string_view source) : tokens_(tokenize(source)) {}

/// Returns the next token without taking it.
const Token& TokenStream::peek() const noexcept {
    return tokens_[next_];
}

/// Takes the next token; the last one can be taken again and again.
Token TokenStream::take() {
    const Token& token = tokens_[next_];
    if (token.kind != TokenKind::End) {
        ++next_;
    }
    return token;
}

/// Takes the next token when it is the given symbol, and returns whether it was.
bool TokenStream::accept(char symbol) {
    if (!peek().is_one_of({&symbol, 1})) {
        return false;
    }
    take();
    return true;
}

/// Takes the given symbol, or throws when the next token is another one.
void TokenStream::expect(char symbol) {
    if (!accept(symbol)) {
        const std::string message = std::string("expected '") + symbol + "' but found ";
        throw SyntaxError(message + describe(peek()), peek().position);
    }
}

}  // namespace exprcalc
