#!/usr/bin/env bash
# Fails when a vector instruction of a kernel stands alone in the binary as a function: then a closure or an
# `array::from_fn` of that kernel was compiled without its instruction set, and runs many times slower.
# Usage: scripts/check_inlining.sh BINARY
set -euo pipefail
names=$(nm -C "$1")
if ! grep -q 'kiln_cpu::' <<<"$names"; then
  echo "$1 has no names of kernels to look at" >&2
  exit 2
fi
# A function of that module, and not one that has its types among its parameters, as libraries have.
if alone=$(grep -E '^[0-9a-f]+ [[:alpha:]] core::core_arch::(x86|aarch64)' <<<"$names" | grep -vE '_xgetbv|cpuid'); then
  printf 'not inlined into the kernels that use them:\n%s\n' "$alone" >&2
  printf 'hint: objdump -dC %s shows what calls them\n' "$1" >&2
  exit 1
fi
