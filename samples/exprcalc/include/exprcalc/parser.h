// SPDX-License-Identifier: MIT
// A recursive-descent parser, one function for each level of precedence.
//
//   expression = term { ("+" | "-") term }
//   term       = factor { ("*" | "/" | "%") factor }
//   factor     = "-" factor | primary [ "^" factor ]
//   primary    = number | name [ "(" arguments ")" ] | "(" expression ")"
//   arguments  = [ expression { "," expression } ]
#ifndef EXPRCALC_PARSER_H
#define EXPRCALC_PARSER_H

#include <string_view>

#include "exprcalc/ast.h"
#include "exprcalc/lexer.h"

namespace exprcalc {
namespace grammar {

/// The deepest recursion that the parser accepts.
constexpr int kMaxDepth = 1000;

ExprPtr parse_expression(TokenStream& tokens, int depth = 0);
ExprPtr parse_term(TokenStream& tokens, int depth);
ExprPtr parse_factor(TokenStream& tokens, int depth);

}  // namespace grammar

/// Returns the syntax tree of a text, or throws a SyntaxError.
ExprPtr parse(std::string_view source);

}  // namespace exprcalc

#endif  // EXPRCALC_PARSER_H
