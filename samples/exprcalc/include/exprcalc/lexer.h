// SPDX-License-Identifier: MIT
// Splits the text of an expression into tokens.
#ifndef EXPRCALC_LEXER_H
#define EXPRCALC_LEXER_H

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace exprcalc {

/// The text of an expression is wrong at some position.
class SyntaxError : public std::runtime_error {
public:
    /// Creates an error for a position, counted in bytes from zero.
    SyntaxError(const std::string& message, std::size_t position)
        : std::runtime_error(message), position_(position) {}

    /// Returns the position of the error, counted in bytes from zero.
    std::size_t position() const noexcept { return position_; }

private:
    std::size_t position_;
};

/// The kinds of tokens.
enum class TokenKind { Number, Identifier, Symbol, End };

/// A piece of the source text.
struct Token {
    TokenKind kind = TokenKind::End;
    std::string text;
    std::size_t position = 0;

    /// Returns true when the token is one of the given symbols.
    bool is_one_of(std::string_view symbols) const noexcept {
        return kind == TokenKind::Symbol && symbols.find(text[0]) != std::string_view::npos;
    }
};

/// Returns the tokens of a text; the last one always has the kind `End`.
std::vector<Token> tokenize(std::string_view source);

/// Hands out tokens one after another, with one token of look-ahead.
class TokenStream {
public:
    explicit TokenStream(std::string_view source);

    const Token& peek() const noexcept;
    Token take();
    bool accept(char symbol);
    void expect(char symbol);

private:
    std::vector<Token> tokens_;
    std::size_t next_ = 0;
};

}  // namespace exprcalc

#endif  // EXPRCALC_LEXER_H
