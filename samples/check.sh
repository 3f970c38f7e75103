#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles every sample project with warnings as errors, and runs it.
# Usage: samples/check.sh    (CXX names the compiler, g++ by default)
set -eu

samples=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
trap 'exit 1' HUP INT TERM

status=0
for project in exprcalc graphkit jsonlite matrixlab ringlog; do
    folder=$samples/$project
    if ${CXX:-g++} -std=c++17 -Wall -Wextra -Werror -I "$folder/include" \
        "$folder"/src/*.cpp -o "$build/$project" && "$build/$project"; then
        continue
    fi
    echo "$project: FAILED" >&2
    status=1
done
exit "$status"
