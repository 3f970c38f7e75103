// SPDX-License-Identifier: MIT
// The syntax tree of an expression.
#ifndef EXPRCALC_AST_H
#define EXPRCALC_AST_H

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace exprcalc {

struct Expr;

/// Owns a subtree.
using ExprPtr = std::unique_ptr<Expr>;

/// A literal number.
struct Number {
    double value;
};

/// A name that stands for a value of the environment.
struct Variable {
    std::string name;
};

/// An operator with one operand.
struct Unary {
    char symbol;
    ExprPtr operand;
};

/// An operator with two operands.
struct Binary {
    char symbol;
    ExprPtr left;
    ExprPtr right;
};

/// A call of a built-in function.
struct Call {
    std::string name;
    std::vector<ExprPtr> arguments;
};

/// A node of the syntax tree.
struct Expr {
    std::variant<Number, Variable, Unary, Binary, Call> node;
};

/// Builds a callable out of several lambdas, one for each kind of node.
template <typename... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};

template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

/// Wraps a node in an owning pointer.
template <typename Node>
ExprPtr make_expr(Node node) {
    return std::make_unique<Expr>(Expr{std::move(node)});
}

std::string to_string(const Expr& expr);

}  // namespace exprcalc

#endif  // EXPRCALC_AST_H
