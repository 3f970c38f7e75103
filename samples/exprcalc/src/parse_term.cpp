// SPDX-License-Identifier: MIT
#include "exprcalc/parser.h"

namespace exprcalc::grammar {

/// Parses a product: factors joined by `*`, `/` and `%`, from left to right.
ExprPtr parse_term(TokenStream& tokens, int depth) {
    ExprPtr left = parse_factor(tokens, depth + 1);
    while (true) {
        if (tokens.accept('*')) {
            left = std::move(left) * parse_factor(tokens, depth + 1);
        } else if (tokens.accept('/')) {
            left = std::move(left) / parse_factor(tokens, depth + 1);
        } else if (tokens.accept('%')) {
            left = make_expr(Binary{'%', std::move(left), parse_factor(tokens, depth + 1)});
        } else {
            return left;
        }
    }
}

}  // namespace exprcalc::grammar
