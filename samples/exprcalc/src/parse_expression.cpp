// SPDX-License-Identifier: MIT
#include "exprcalc/parser.h"

namespace exprcalc {

namespace grammar {

/// Parses a sum: terms joined by `+` and `-`, from left to right.
ExprPtr parse_expression(TokenStream& tokens, int depth) {
    if (depth > kMaxDepth) {
        throw SyntaxError("expression is nested too deeply", tokens.peek().position);
    }
    ExprPtr left = parse_term(tokens, depth + 1);
    while (true) {
        if (tokens.accept('+')) {
            left = std::move(left) + parse_term(tokens, depth + 1);
        } else if (tokens.accept('-')) {
            left = std::move(left) - parse_term(tokens, depth + 1);
        } else {
            return left;
        }
    }
}

}  // namespace grammar

/// Returns the syntax tree of a text, or throws a SyntaxError.
ExprPtr parse(std::string_view source) {
    TokenStream tokens(source);
    ExprPtr expr = grammar::parse_expression(tokens);
    if (tokens.peek().kind != TokenKind::End) {
        throw SyntaxError("unexpected text after the expression", tokens.peek().position);
    }
    return expr;
}

}  // namespace exprcalc
