// SPDX-License-Identifier: MIT
#include "exprcalc/parser.h"

namespace exprcalc {
namespace grammar {

/// Parses a sum: terms joined by `+` and `-`, from left to right.
ExprPtr parse_expression(TokenStream& tokens, int depth) {
    ExprPtr left = parse_term(tokens, depth + 1);
    while (tokens.peek().is_one_of("+-")) {
        const char symbol = tokens.take().text[0];
        ExprPtr right = parse_term(tokens, depth + 1);
        left = make_expr(Binary{symbol, std::move(left), std::move(right)});
    }
    return left;
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
