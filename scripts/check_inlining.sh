#!/usr/bin/env bash
# Fails when a vector instruction of a kernel stands alone in the binary as a function: then a closure or an
# `array::from_fn` of that kernel was compiled without its instruction set, and runs many times slower.
# Usage: scripts/check_inlining.sh BINARY
set -euo pipefail
alone=$(nm -C "$1" | grep -E 'core_arch::(x86|aarch64)' | grep -vE '_xgetbv|cpuid' || true)
if [ -n "$alone" ]; then
  printf 'not inlined into the kernels that use them:\n%s\n' "$alone" >&2
  printf 'hint: objdump -dC %s shows what calls them\n' "$1" >&2
  exit 1
fi
