// SPDX-License-Identifier: MIT
#include "exprcalc/parser.h"

namespace exprcalc::grammar {

/// Parses a product: factors joined by `*`, `/` and `%`, from left to right.
ExprPtr parse_term(TokenStream& tokens, int depth) {
    ExprPtr left = parse_factor(tokens, depth + 1);
    while (tokens.peek().is_one_of("*/%")) {
        const char symbol = tokens.take().text[0];
        ExprPtr right = parse_factor(tokens, depth + 1);
        left = make_expr(Binary{symbol, std::move(left), std::move(right)});
    }
    return left;
}

}  // namespace exprcalc::grammar
