// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>

#include "exprcalc/evaluator.h"

namespace exprcalc {
namespace {

typedef const std::vector<double>& Arguments;
typedef double (*Function)(Arguments arguments);

/// A built-in function and the number of arguments that it takes.
struct Builtin {
    const char* name;
    std::size_t arity;
    Function function;
};

/// Defines an entry of the table for a function of one argument.
#define UNARY_BUILTIN(name) \
    Builtin { #name, 1, [](Arguments arguments) { return std::name(arguments[0]); } }

const std::array<Builtin, 7> kBuiltins = {
    UNARY_BUILTIN(sin),
    UNARY_BUILTIN(cos),
    UNARY_BUILTIN(exp),
    UNARY_BUILTIN(log),
    UNARY_BUILTIN(sqrt),
    Builtin{"min", 2, [](Arguments arguments) { return std::min(arguments[0], arguments[1]); }},
    Builtin{"max", 2, [](Arguments arguments) { return std::max(arguments[0], arguments[1]); }},
};

#undef UNARY_BUILTIN

}  // namespace

/// Returns the value of a built-in function at the given arguments.
double call_builtin(const std::string& name, const std::vector<double>& arguments) {
    const auto has_name = [&name](const Builtin& builtin) { return builtin.name == name; };
    const auto found = std::find_if(kBuiltins.begin(), kBuiltins.end(), has_name);
    if (found == kBuiltins.end()) {
        throw EvaluationError("unknown function '" + name + "'");
    }
    if (found->arity != arguments.size()) {
        throw EvaluationError("wrong number of arguments for '" + name + "'");
    }
    return found->function(arguments);
}

}  // namespace exprcalc
