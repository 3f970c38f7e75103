// SPDX-License-Identifier: MIT
#include "exprcalc/evaluator.h"

#include <cmath>

#include "exprcalc/parser.h"

namespace exprcalc {

/// Returns the value of an operator with two operands.
static double apply(char symbol, double left, double right) {
    switch (symbol) {
        case '+':
            return left + right;
        case '-':
            return left - right;
        case '*':
            return left * right;
        case '^':
            return std::pow(left, right);
        default:
            break;
    }
    if (right == 0.0) {
        throw EvaluationError("division by zero");
    }
    return symbol == '/' ? left / right : std::fmod(left, right);
}

/// Returns the value of a variable, or throws when it has none.
static double lookup(const Environment& environment, const std::string& name) {
    const auto found = environment.find(name);
    if (found == environment.end()) {
        throw EvaluationError("unknown variable '" + name + "'");
    }
    return found->second;
}

/// Returns the value of a syntax tree.
double evaluate(const Expr& expr, const Environment& environment) {
    const auto visitor = Overloaded{
        [](const Number& number) { return number.value; },
        [&](const Variable& variable) { return lookup(environment, variable.name); },
        [&](const Unary& unary) { return -evaluate(*unary.operand, environment); },
        [&](const Binary& binary) {
            const double left = evaluate(*binary.left, environment);
            const double right = evaluate(*binary.right, environment);
            return apply(binary.symbol, left, right);
        },
        [&](const Call& call) {
            std::vector<double> arguments;
            for (const ExprPtr& argument : call.arguments) {
                arguments.push_back(evaluate(*argument, environment));
            }
            return call_builtin(call.name, arguments);
        },
    };
    return std::visit(visitor, expr.node);
}

/// Returns the value of a text.
double evaluate(std::string_view source, const Environment& environment) {
    return evaluate(*parse(source), environment);
}

}  // namespace exprcalc
