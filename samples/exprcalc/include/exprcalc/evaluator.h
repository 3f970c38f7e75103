// SPDX-License-Identifier: MIT
// exprcalc: parses, prints and evaluates arithmetic expressions.
#ifndef EXPRCALC_EVALUATOR_H
#define EXPRCALC_EVALUATOR_H

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "exprcalc/ast.h"

namespace exprcalc {

/// An expression has no value, for example because a name is unknown.
class EvaluationError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The values of the variables.
typedef std::map<std::string, double> Environment;

/// Returns the value of a syntax tree.
double evaluate(const Expr& expr, const Environment& environment = {});

/// Returns the value of a text.
double evaluate(std::string_view source, const Environment& environment = {});

/// Returns the value of a built-in function at the given arguments.
double call_builtin(const std::string& name, const std::vector<double>& arguments);

}  // namespace exprcalc

#endif  // EXPRCALC_EVALUATOR_H
