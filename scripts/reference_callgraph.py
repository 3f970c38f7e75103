#!/usr/bin/env python3
"""Makes a reference call graph of a C++ project with plain libclang, for `check_callgraph.py` to judge Kiln by.

    scripts/reference_callgraph.py SRC --compile-commands build/compile_commands.json --libclang LIB --out ref.json

Every unit of the compile database is parsed from its own flags, in libclang's default mode, without a precompiled
prefix, and its tree is walked by the Python bindings (`pip install libclang`, or `--bindings DIR` for the folder that
holds the package `clang`). Nothing is shared with Kiln, neither code nor short cuts. The system's headers are asked of
the compiler (`--compiler`); `--builtin` names the parser's own (`lib/clang/VERSION/include`), which the wheel lacks.

What is counted:
  functions   every function definition with a body in a file of the project (headers, inline members, templates,
              friends, local classes), one entry per USR; `also_defined_at`: [file, line, end line] of others of it
  defaulted   the same for members that are `= default`
  edges       [caller's USR, callee's USR], distinct, both in `functions`, from call expressions; the caller is the
              innermost function around (calls in a lambda belong to the function around it); a call of a
              specialisation or of a member of one counts for the template unless the specialisation has its own
  edges_to_defaulted   the same with the callee in `defaulted`
  from_macro  the name comes from a macro: it does not stand in the file where the function is
  inactive_lines   line ranges that no unit compiled; files_covered: the files that some unit is made of
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import threading

SKIPPED_FOLDERS = ".git,build,node_modules,third_party,external,deps,vendor"
WITH_VALUE = {"-o", "-MF", "-MT", "-MQ", "-MJ"}
ALONE = {"-c", "-MD", "-MMD", "-MP", "-Werror", "-pedantic-errors"}


def words_of(entry):
    words = entry.get("arguments") or shlex.split(entry["command"])
    file, kept, rest = os.path.join(entry["directory"], entry["file"]), [], iter(words[1:])
    for word in rest:
        if word in WITH_VALUE:
            next(rest, None)
        elif word in ALONE or word.startswith("-Werror=") or word == "--":
            continue
        elif os.path.realpath(os.path.join(entry["directory"], word)) == os.path.realpath(file):
            continue
        else:
            kept.append(word)
    return os.path.realpath(file), kept


def system_arguments(compiler, language, builtin):
    """The compiler's folders; its own headers (which hold `stddef.h`) give way to the parser's."""
    output = subprocess.run([compiler, "-v", "-E", "-x", language, os.devnull], capture_output=True, text=True,
                            env={**os.environ, "LC_ALL": "C"}).stderr
    folders = output.split("#include <...> search starts here:\n")[1].split("End of search list")[0].split("\n")
    arguments, placed = ["-nostdinc"], builtin is None
    for folder in filter(None, map(str.strip, folders)):
        own = os.path.exists(os.path.join(folder, "stddef.h")) and os.path.exists(os.path.join(folder, "stdarg.h"))
        if not placed and (own or os.path.exists(os.path.join(folder, "stdlib.h")) and "c++" not in folder):
            arguments += ["-isystem", builtin]
            placed = True
        if not own or builtin is None:
            arguments += ["-isystem", folder]
    return arguments


class LineRange:
    """Bindings for what the Python package leaves out: the ranges that the preprocessor skipped."""

    class List(ctypes.Structure):
        pass

    def __init__(self, clang):
        self.List._fields_ = [("count", ctypes.c_uint), ("ranges", ctypes.POINTER(clang.SourceRange))]
        self.all = clang.conf.lib.clang_getAllSkippedRanges
        self.all.argtypes, self.all.restype = [clang.TranslationUnit], ctypes.POINTER(self.List)

    def skipped(self, unit):
        found = self.all(unit).contents
        return [found.ranges[number] for number in range(found.count)]


class Worker:
    def __init__(self, options):
        if options.bindings:
            sys.path.insert(0, options.bindings)
        import clang.cindex as clang

        if options.libclang and not clang.Config.loaded:
            clang.Config.set_compatibility_check(False)
            clang.Config.set_library_file(options.libclang)
        self.clang = clang
        self.index = clang.Index.create()
        self.root = os.path.realpath(options.source)
        self.skip = set(options.skip_folders.split(","))
        self.system = {language: system_arguments(options.compiler, language, options.builtin) for language in ("c", "c++")}
        self.line_ranges = LineRange(clang)
        self.names, self.texts = {}, {}
        kinds = clang.CursorKind
        self.kinds = {
            kinds.FUNCTION_DECL, kinds.CXX_METHOD, kinds.CONSTRUCTOR, kinds.DESTRUCTOR, kinds.CONVERSION_FUNCTION,
            kinds.FUNCTION_TEMPLATE,
        }

    def name(self, path):
        """The path below the root of a file of the project, else None."""
        if path not in self.names:
            real = os.path.realpath(path)
            below = os.path.relpath(real, self.root)
            parts = below.split(os.sep)
            foreign = parts[0] == ".." or any(p in self.skip or p.startswith("cmake-build") for p in parts[:-1])
            self.names[path] = None if foreign or os.path.getsize(real) > 500_000 else below
        return self.names[path]

    def text(self, name):
        if name not in self.texts:
            with open(os.path.join(self.root, name), "rb") as file:
                self.texts[name] = file.read()
        return self.texts[name]

    def unit(self, entry):
        path, arguments = words_of(entry)
        language = "c" if path.endswith(".c") else "c++"
        arguments = arguments + self.system[language] + ["-working-directory", entry["directory"], "-ferror-limit=0"]
        options = self.clang.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD
        try:
            unit = self.index.parse(path, arguments, options=options)
        except self.clang.TranslationUnitLoadError:
            return {"file": path, "failed": True}
        self.functions, self.defaulted, self.edges, self.unresolved = {}, {}, set(), 0
        for child in unit.cursor.get_children():
            file = child.location.file
            if file and self.name(file.name):
                self.walk(child, None)
        files = {self.name(inclusion.include.name) for inclusion in unit.get_includes()} | {self.name(path)}
        inactive = {}
        for extent in self.line_ranges.skipped(unit):
            name = extent.start.file and self.name(extent.start.file.name)
            if name:
                inactive.setdefault(name, []).append((extent.start.line, extent.end.line))
        errors = [d for d in unit.diagnostics if d.severity >= self.clang.Diagnostic.Error]
        return {
            "file": self.name(path) or path, "errors": len(errors), "first_error": str(errors[0]) if errors else None,
            "functions": self.functions, "defaulted": self.defaulted, "edges": self.edges, "inactive": inactive,
            "files": files - {None}, "unresolved": self.unresolved,
        }

    def walk(self, cursor, caller):
        if cursor.kind in self.kinds and cursor.is_definition():
            caller = self.function(cursor)
        elif cursor.kind in self.kinds:
            caller = None
        elif cursor.kind == self.clang.CursorKind.CALL_EXPR and caller is not None:
            self.call(cursor, caller)
        for child in cursor.get_children():
            self.walk(child, caller)

    def function(self, cursor):
        """The USR, where the function counts."""
        usr, file = cursor.get_usr(), cursor.location.file
        name = self.name(file.name) if file else None
        if not usr or not name:
            return None
        defaulted = bool(self.clang.conf.lib.clang_CXXMethod_isDefaulted(cursor))
        bodies = [c for c in cursor.get_children() if c.kind.name in ("COMPOUND_STMT", "CXX_TRY_STMT")]
        if not defaulted and not (bodies and bodies[-1].location.file and self.name(bodies[-1].location.file.name)):
            return None
        known = (self.defaulted if defaulted else self.functions).setdefault(usr, {})
        place = (name, cursor.location.line, cursor.extent.start.offset, cursor.extent.end.offset)
        if place not in known:
            known[place] = self.entry(cursor, usr, name)
        return None if defaulted else usr

    def entry(self, cursor, usr, name):
        written = cursor.spelling
        word = "operator" if written.startswith("operator") else written.split("<")[0].split(" ")[0].split("(")[0]
        at, extent = cursor.location.offset, cursor.extent
        entry = {
            "usr": usr, "qualified_name": self.qualified(cursor), "display_name": cursor.displayname,
            "kind": cursor.kind.name.lower(), "file": name, "line": cursor.location.line,
            "start_line": extent.start.line, "end_line": extent.end.line, "start_byte": extent.start.offset,
            "end_byte": extent.end.offset,
        }
        if not self.text(name)[at:].startswith(word.encode()):
            entry["from_macro"] = True
        return entry

    def qualified(self, cursor):
        parts, here = [], cursor
        while here is not None and here.kind.name not in ("TRANSLATION_UNIT", "INVALID_FILE", "LINKAGE_SPEC"):
            name = here.spelling
            if name and not name.startswith("("):
                parts.append(name if name.startswith("operator") else name.split("<")[0])
            here = here.semantic_parent
        return "::".join(reversed(parts))

    def call(self, cursor, caller):
        callee = cursor.referenced
        if callee is None:
            self.unresolved += 1
            return
        usrs = []
        while callee is not None and callee.kind in self.kinds and len(usrs) < 8:
            usrs.append(callee.get_usr())
            callee = self.clang.conf.lib.clang_getSpecializedCursorTemplate(callee)
        if usrs:
            self.edges.add((caller, tuple(usrs)))


WORKER = None


def start_worker(options):
    global WORKER
    sys.setrecursionlimit(1_000_000)
    threading.stack_size(512 << 20)
    WORKER = Worker(options)


def parse_one(entry):
    """Trees are walked by recursion, so on a thread with a large stack."""
    result = []
    thread = threading.Thread(target=lambda: result.append(WORKER.unit(entry)))
    thread.start()
    thread.join()
    return result[0] if result else {"file": entry["file"], "failed": True}


def only_inactive(units):
    """Lines that every unit which is made of a file skips, as ranges."""
    lines = {}
    for unit in units:
        for name in unit["files"]:
            skipped = {line for first, last in unit["inactive"].get(name, []) for line in range(first, last + 1)}
            lines[name] = lines[name] & skipped if name in lines else skipped
    ranges = {}
    for name, skipped in sorted(lines.items()):
        for line in sorted(skipped):
            if name in ranges and ranges[name][-1][1] == line - 1:
                ranges[name][-1][1] = line
            else:
                ranges.setdefault(name, []).append([line, line])
    return ranges


def union(units, key):
    """One entry per USR; the first place by name counts, the others stand in `also_defined_at`."""
    places = {}
    for unit in units:
        for usr, found in unit[key].items():
            places.setdefault(usr, {}).update(found)
    entries = {}
    for usr, found in places.items():
        # Units may see different extents of one function, by their macros.
        first, *others = [found[place] for place in sorted(found)]
        seen = {(first["file"], first["line"])}
        also = [o for o in others if (o["file"], o["line"]) not in seen and not seen.add((o["file"], o["line"]))]
        entries[usr] = {**first, "also_defined_at": [[o["file"], o["line"], o["end_line"]] for o in also]} if also else first
    return entries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="the project's folder")
    parser.add_argument("--compile-commands", required=True, help="the compile database")
    parser.add_argument("--out", required=True, help="where the reference goes")
    parser.add_argument("--bindings", help="folder of the Python package `clang`, if it is not installed")
    parser.add_argument("--libclang", help="the library, in place of that of the bindings")
    parser.add_argument("--builtin", help="folder of the parser's own headers")
    parser.add_argument("--compiler", default="c++", help="the compiler whose system headers are used")
    parser.add_argument("--skip-folders", default=SKIPPED_FOLDERS, help="folders whose files are not the project's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="units at a time")
    options = parser.parse_args()

    root = os.path.realpath(options.source)
    with open(options.compile_commands, encoding="utf-8") as file:
        entries = json.load(file)
    first = {}
    for entry in entries:
        path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        below = os.path.relpath(path, root)
        if not below.startswith("..") and not set(below.split(os.sep)[:-1]) & set(options.skip_folders.split(",")):
            first.setdefault(path, entry)
    with multiprocessing.Pool(options.jobs, start_worker, (options,)) as pool:
        parsed = list(pool.imap(parse_one, [first[path] for path in sorted(first)]))
    units = [unit for unit in parsed if not unit.get("failed")]

    functions, defaulted = union(units, "functions"), union(units, "defaulted")
    edges, to_defaulted = set(), set()
    for caller, callees in {edge for unit in units for edge in unit["edges"]}:
        callee = next((usr for usr in callees if usr in functions or usr in defaulted), None)
        if caller in functions and callee in functions:
            edges.add((caller, callee))
        elif caller in functions and callee:
            to_defaulted.add((caller, callee))
    reference = {
        "project": os.path.basename(root),
        "notes": __doc__.split("What is counted:\n")[1].splitlines(),
        "counts": {
            "translation_units": len(parsed), "translation_units_with_errors": sum(u.get("errors", 1) > 0 for u in parsed),
            "functions": len(functions), "functions_from_macro": sum("from_macro" in f for f in functions.values()),
            "defaulted": len(defaulted), "edges": len(edges), "edges_to_defaulted": len(to_defaulted),
            "call_expressions_without_referent": sum(unit["unresolved"] for unit in units),
        },
        "translation_units": [
            {"file": u["file"], "errors": u.get("errors", 1), "first_error": u.get("first_error")} for u in parsed
        ],
        "files_covered": sorted(set().union(*(unit["files"] for unit in units))),
        "inactive_lines": only_inactive(units),
        "functions": sorted(functions.values(), key=lambda f: (f["file"], f["line"], f["usr"])),
        "defaulted": sorted(defaulted.values(), key=lambda f: (f["file"], f["line"], f["usr"])),
        "edges": sorted(edges),
        "edges_to_defaulted": sorted(to_defaulted),
    }
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(reference, file, indent=0)
        file.write("\n")
    print(json.dumps(reference["counts"]))
    for unit in reference["translation_units"]:
        if unit["errors"]:
            print(f"{unit['file']}: {unit['errors']} errors, first: {unit['first_error']}")


if __name__ == "__main__":
    main()
