// SPDX-License-Identifier: MIT
#include "exprcalc/ast.h"

#include <sstream>

namespace exprcalc {

/// Returns the text of a call, such as `max(x, 1)`.
static std::string describe(const Call& call) {
    std::string text = call.name + "(";
    for (std::size_t index = 0; index < call.arguments.size(); ++index) {
        text += (index == 0 ? "" : ", ") + to_string(*call.arguments[index]);
    }
    return text + ")";
}

/// Returns the text of an expression, with parentheses around every operator.
std::string to_string(const Expr& expr) {
    const auto visitor = Overloaded{
        [](const Number& number) {
            std::ostringstream stream;
            stream << number.value;
            return stream.str();
        },
        [](const Variable& variable) { return variable.name; },
        [](const Unary& unary) {
            return std::string("(") + unary.symbol + to_string(*unary.operand) + ")";
        },
        [](const Binary& binary) {
            return "(" + to_string(*binary.left) + " " + binary.symbol + " " +
                   to_string(*binary.right) + ")";
        },
        [](const Call& call) { return describe(call); },
    };
    return std::visit(visitor, expr.node);
}

}  // namespace exprcalc
