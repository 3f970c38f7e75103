// SPDX-License-Identifier: MIT
// Checks of the exprcalc project. Exits 0 when all of them hold.
#include <cmath>
#include <iostream>

#include "exprcalc/evaluator.h"
#include "exprcalc/parser.h"

/// Counts and reports a condition that does not hold.
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            ++failures; \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n'; \
        } \
    } while (false)

namespace {

int failures = 0;

/// Returns true when two numbers differ by rounding alone.
bool close(double left, double right, double tolerance = 1e-9) {
    return std::abs(left - right) <= tolerance;
}

/// Returns the position of the syntax error in a text, or -1 when there is none.
int error_position(std::string_view source) {
    try {
        exprcalc::parse(source);
    } catch (const exprcalc::SyntaxError& error) {
        return static_cast<int>(error.position());
    }
    return -1;
}

/// Returns true when a text parses but has no value.
bool has_no_value(std::string_view source) {
    try {
        exprcalc::evaluate(source);
    } catch (const exprcalc::EvaluationError&) {
        return true;
    }
    return false;
}

/// Checks that operators bind as they do in mathematics.
void check_parser() {
    using exprcalc::parse;
    using exprcalc::to_string;
    CHECK(to_string(*parse("1 + 2 * 3")) == "(1 + (2 * 3))");
    CHECK(to_string(*parse("a - b - c")) == "((a - b) - c)");
    CHECK(to_string(*parse("2 ^ 3 ^ 2")) == "(2 ^ (3 ^ 2))");
    CHECK(to_string(*parse("-x ^ 2")) == "(-(x ^ 2))");
    CHECK(to_string(*parse("max(x, 1 + y)")) == "max(x, (1 + y))");
}

/// Checks that mistakes are found where they are.
void check_syntax_errors() {
    CHECK(error_position("1 + 2") == -1);
    CHECK(error_position("1 + ") == 4);
    CHECK(error_position("(1 + 2") == 6);
    CHECK(error_position("1 $ 2") == 2);
    CHECK(error_position("1.2.3") == 0);
    CHECK(error_position("1 2") == 2);
    CHECK(error_position(std::string(500, '(')) > 0);
}

/// Checks the values of expressions.
void check_evaluator() {
    using exprcalc::evaluate;
    CHECK(close(evaluate("2 + 3 * (4 - 1)"), 11.0));
    CHECK(close(evaluate("7 % 4 / 2"), 1.5));
    CHECK(close(evaluate("sqrt(x * x + y * y)", {{"x", 3.0}, {"y", 4.0}}), 5.0));
    CHECK(close(evaluate("max(1, min(5, 9)) ^ 2"), 25.0));
    CHECK(has_no_value("1 / 0"));
    CHECK(has_no_value("unknown + 1"));
    CHECK(has_no_value("sin(1, 2)"));
}

}  // namespace

/// Runs every check.
int main() {
    check_parser();
    check_syntax_errors();
    check_evaluator();
    std::cout << "exprcalc: " << (failures == 0 ? "ok" : "failed") << '\n';
    return failures == 0 ? 0 : 1;
}
