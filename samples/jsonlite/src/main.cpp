// SPDX-License-Identifier: MIT
// Checks of the jsonlite project. Exits 0 when all of them hold.
#include <iostream>

#include "jsonlite/json.h"

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

/// Returns the line of the error in a text, or zero when the text is valid.
int error_line(std::string_view text) {
    try {
        jsonlite::parse(text);
    } catch (const jsonlite::ParseError& error) {
        return error.line();
    }
    return 0;
}

/// Checks that values can be built, changed and compared.
void check_values() {
    jsonlite::Value value;
    value["name"] = "kiln";
    value["sizes"].push_back(1);
    value["sizes"].push_back(2.5);
    CHECK(value.size() == 2);
    CHECK(value["sizes"][std::size_t{1}].as<double>() == 2.5);
    CHECK(value.find("missing") == nullptr);
    CHECK(value == jsonlite::parse(R"({"sizes": [1, 2.5], "name": "kiln"})"));
    CHECK(!(value == jsonlite::parse(R"({"sizes": [1, 2.5], "name": "oven"})")));
}

/// Checks that text survives reading and writing.
void check_round_trips() {
    for (const char* text : {"null", "[]", "{}", "-0.5", "[true,false,[1,1e+20]]",
                             R"({"a":{"b":[{}]},"c":"tab\u0009quote\"slash\\"})"}) {
        CHECK(jsonlite::to_string(jsonlite::parse(text)) == text);
    }
    CHECK(jsonlite::to_string(jsonlite::parse("[1,{\"a\":2}]"), 2) ==
          "[\n  1,\n  {\n    \"a\": 2\n  }\n]");
    CHECK(jsonlite::parse(R"("\u00e9\ud83d\ude00")").as<std::string>() == "é😀");
}

/// Checks that invalid text is refused, with the line of the error.
void check_errors() {
    CHECK(error_line("[1, 2") == 1);
    CHECK(error_line("{\n\"a\": 1,\n}") == 3);
    CHECK(error_line("\n\n01") == 3);
    CHECK(error_line("nan") == 1);
    CHECK(error_line("\"\\ud800\"") == 1);
    CHECK(error_line("[1] 2") == 1);
    CHECK(error_line(std::string(1000, '[')) == 1);
}

}  // namespace

/// Runs every check.
int main() {
    check_values();
    check_round_trips();
    check_errors();
    std::cout << "jsonlite: " << (failures == 0 ? "ok" : "failed") << '\n';
    return failures == 0 ? 0 : 1;
}
