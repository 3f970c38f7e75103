#!/usr/bin/env python3
"""Times Kiln's libclang mode beside libclang itself, which parses the same units one after another.

    scripts/compare_libclang.py --kiln target/release/kiln --libclang /usr/lib/llvm-14/lib/libclang-14.so.1 SRC

The flags are those that Kiln gives to libclang (`--write-compile-commands`), or those of `--compile-commands`. Kiln's
time is that of the whole command: finding the flags, precompiled prefixes, parsing, walking, resolving, writing.
libclang's is that of `clang_parseTranslationUnit2` alone, in its default mode, called through ctypes so that no Python
package is needed. Each runs in a process of its own; with --repeat N they take turns, and the least of each counts.
Exit status 1 if Kiln takes more than the share of libclang's time that --share gives (default: a third).
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time


def parse_serially(library, database):
    """Run in a child: parses each unit once and prints wall seconds, processor seconds, units, units with errors."""
    clang = ctypes.CDLL(library)
    clang.clang_createIndex.restype = ctypes.c_void_p
    clang.clang_parseTranslationUnit2.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_void_p, ctypes.c_uint,
        ctypes.c_uint, ctypes.POINTER(ctypes.c_void_p),
    ]
    for name in ("clang_disposeTranslationUnit", "clang_getNumDiagnostics"):
        getattr(clang, name).argtypes = [ctypes.c_void_p]
    clang.clang_getDiagnostic.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    clang.clang_getDiagnostic.restype = ctypes.c_void_p
    for name in ("clang_getDiagnosticSeverity", "clang_disposeDiagnostic"):
        getattr(clang, name).argtypes = [ctypes.c_void_p]

    index = clang.clang_createIndex(0, 0)
    with open(database, encoding="utf-8") as file:
        entries = json.load(file)
    wall, errors = 0.0, 0
    for entry in entries:
        arguments = [argument.encode() for argument in entry["arguments"][1:-2]]
        pointers = (ctypes.c_char_p * len(arguments))(*arguments)
        unit = ctypes.c_void_p()
        path = os.path.join(entry["directory"], entry["file"]).encode()
        start = time.perf_counter()
        failed = clang.clang_parseTranslationUnit2(index, path, pointers, len(arguments), None, 0, 0, ctypes.byref(unit))
        wall += time.perf_counter() - start
        if failed or not unit:
            errors += 1
            continue
        worst = 0
        for number in range(clang.clang_getNumDiagnostics(unit)):
            diagnostic = clang.clang_getDiagnostic(unit, number)
            worst = max(worst, clang.clang_getDiagnosticSeverity(diagnostic))
            clang.clang_disposeDiagnostic(diagnostic)
        errors += worst >= 3
        clang.clang_disposeTranslationUnit(unit)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "units": len(entries), "errors": errors}))


def run_kiln(options, database, out):
    """Wall seconds, processor seconds and greatest resident size of one run."""
    command = [options.kiln, "corpus", "graph", options.source, "--parser", "clang", "--libclang", options.libclang]
    command += ["--format", "json", "--out", out, "--quiet"]
    command += ["--compile-commands", database] if database else []
    command += options.extra
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{' '.join(command)}: failed")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="the project's folder")
    parser.add_argument("--kiln", default="target/release/kiln", help="the binary")
    parser.add_argument("--libclang", required=True, help="the library both use")
    parser.add_argument("--compile-commands", help="a compile database; else Kiln finds the flags")
    parser.add_argument("--share", type=float, default=1 / 3, help="greatest share of libclang's time that is allowed")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, taking turns")
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="further arguments for Kiln")
    parser.add_argument("--serial", metavar="DATABASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serial:
        parse_serially(options.libclang, options.serial)
        return

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        flags, out = os.path.join(folder, "flags.json"), os.path.join(folder, "graph.json")
        options.extra += ["--write-compile-commands", flags]
        for _ in range(options.repeat):
            ours.append(run_kiln(options, options.compile_commands, out))
            command = [sys.executable, __file__, options.source, "--libclang", options.libclang, "--serial", flags]
            theirs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = min(ours, key=lambda run: run["wall"])
    serial = min(theirs, key=lambda run: run["wall"])
    ratio = best["wall"] / serial["wall"]
    print(f"libclang, one unit after another  {serial['wall']:8.2f} s  ({serial['cpu']:.2f} s of processor time,"
          f" {serial['units']} units, {serial['errors']} with errors)")
    print(f"Kiln, the whole command           {best['wall']:8.2f} s  ({best['cpu']:.2f} s of processor time,"
          f" at most {best['rss'] / 1e9:.2f} GB resident)")
    print(f"share of libclang's time          {ratio:8.3f}    (at most {options.share:.3f};"
          f" {best['cpu'] / serial['cpu']:.3f} of its processor time)")
    sys.exit(0 if ratio <= options.share else 1)


if __name__ == "__main__":
    main()
