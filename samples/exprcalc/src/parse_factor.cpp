// SPDX-License-Identifier: MIT
#include <cstdlib>

#include "exprcalc/parser.h"

namespace exprcalc::grammar {

/// Returns the value of a number token, or throws when it has two points.
static ExprPtr parse_number(const Token& token) {
    char* end = nullptr;
    const double value = std::strtod(token.text.c_str(), &end);
    if (*end != '\0') {
        throw SyntaxError("malformed number", token.position);
    }
    return make_expr(Number{value});
}

/// Parses the arguments of a call, after the opening parenthesis.
static std::vector<ExprPtr> parse_arguments(TokenStream& tokens, int depth) {
    std::vector<ExprPtr> arguments;
    if (tokens.accept(')')) {
        return arguments;
    }
    do {
        arguments.push_back(parse_expression(tokens, depth + 1));
    } while (tokens.accept(','));
    tokens.expect(')');
    return arguments;
}

/// Parses a number, a variable, a call or an expression in parentheses.
static ExprPtr parse_primary(TokenStream& tokens, int depth) {
    const Token token = tokens.take();
    if (token.kind == TokenKind::Number) {
        return parse_number(token);
    }
    if (token.kind == TokenKind::Identifier) {
        if (tokens.accept('(')) {
            return make_expr(Call{token.text, parse_arguments(tokens, depth + 1)});
        }
        return make_expr(Variable{token.text});
    }
    if (token.is_one_of("(")) {
        ExprPtr inner = parse_expression(tokens, depth + 1);
        tokens.expect(')');
        return inner;
    }
    throw SyntaxError("expected a value", token.position);
}

/// Parses a sign or a power; `^` binds to the right, so `2^3^2` is `2^9`.
ExprPtr parse_factor(TokenStream& tokens, int depth) {
    if (depth > kMaxDepth) {
        throw SyntaxError("expression is nested too deeply", tokens.peek().position);
    }
    if (tokens.accept('-')) {
        return make_expr(Unary{'-', parse_factor(tokens, depth + 1)});
    }
    ExprPtr base = parse_primary(tokens, depth + 1);
    if (tokens.accept('^')) {
        return make_expr(Binary{'^', std::move(base), parse_factor(tokens, depth + 1)});
    }
    return base;
}

}  // namespace exprcalc::grammar
