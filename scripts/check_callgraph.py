#!/usr/bin/env python3
"""Compares a call graph printed by `kiln corpus graph SRC --format json` with a reference call graph.

    kiln corpus graph SRC --parser clang --format json --out graph.json
    scripts/check_callgraph.py graph.json reference.json[.zst] --definitions 99 --edges 98 --precision 99

A function is matched by its file and the line of its name; an edge by the matched functions at both ends. Only
functions in the reference's `files_covered` and outside its `inactive_lines` count. Functions whose name comes from a
macro count for neither. A function that the reference merged (`also_defined_at`) may stand at any of its places.

Printed: definitions found (of the reference's functions), edges found (of the reference's edges), precision of
definitions and of edges (of what Kiln found and the reference can judge). Exit status 1 below any of the bars.
"""

import argparse
import collections
import json
import subprocess
import sys


def read_json(path):
    if path.endswith(".zst"):
        return json.loads(subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Reference:
    def __init__(self, data):
        self.covered = set(data["files_covered"])
        self.inactive = data.get("inactive_lines", {})
        # Several functions may have their name on one line: (file, line) -> USRs.
        self.at = collections.defaultdict(set)
        self.function = {}
        self.from_macro = set()
        self.defaulted = set()
        for entry in data["functions"] + data.get("defaulted", []):
            usr = entry["usr"]
            places = [(entry["file"], entry["line"])]
            for file, start, end in entry.get("also_defined_at", []):
                # The line of the name is not given for these, only the extent.
                places.extend((file, line) for line in range(start, min(end, start + 3) + 1))
            self.function[usr] = entry
            for place in places:
                self.at[place].add(usr)
            if entry.get("from_macro"):
                self.from_macro.add(usr)
        for entry in data.get("defaulted", []):
            self.defaulted.add(entry["usr"])
        self.wanted = {entry["usr"] for entry in data["functions"]} - self.from_macro
        self.edges = {tuple(edge) for edge in data["edges"]}
        self.edges_to_defaulted = {tuple(edge) for edge in data.get("edges_to_defaulted", [])}

    def judges(self, function):
        """Whether the absence of this function of Kiln's from the reference means anything."""
        if function["file"] not in self.covered:
            return False
        lines = self.inactive.get(function["file"], [])
        return not any(first <= function["line"] <= last for first, last in lines)


def plain(name):
    """The last part of a qualified name, to tell apart functions that stand on one line."""
    return name.rsplit("::", 1)[-1].replace(" ", "")


def match(graph, reference):
    """Kiln's id -> USR, and the ids that match nothing though the reference covers their place."""
    matched, unknown = {}, []
    for function in graph["functions"]:
        here = reference.at.get((function["file"], function["line"]), set())
        same_name = {u for u in here if plain(reference.function[u]["qualified_name"]) == plain(function["qualified_name"])}
        candidates = same_name or here
        if candidates:
            # Overloads on one line are all the same to a match by line.
            matched[function["id"]] = candidates
        elif reference.judges(function):
            unknown.append(function)
    return matched, unknown


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", help="output of `kiln corpus graph --format json`")
    parser.add_argument("reference", help="reference call graph, JSON or JSON.zst")
    parser.add_argument("--definitions", type=float, default=99.0, help="least share of definitions found, percent")
    parser.add_argument("--edges", type=float, default=98.0, help="least share of edges found, percent")
    parser.add_argument("--precision", type=float, default=99.0, help="least precision of edges and definitions, percent")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="list up to N misses of each sort")
    options = parser.parse_args()

    graph = read_json(options.graph)
    reference = Reference(read_json(options.reference))
    matched, unknown = match(graph, reference)

    found = set().union(*matched.values()) if matched else set()
    missing = sorted(reference.wanted - found)
    # Bodies by macro and defaulted members are neither asked for nor wrong.
    right = [f for f in graph["functions"] if f["id"] in matched and matched[f["id"]] & reference.wanted]

    counted = {e for e in reference.edges if not (set(e) & reference.from_macro)}
    seen, wrong, judged = set(), [], 0
    by_id = {f["id"]: f for f in graph["functions"]}
    unknown_ids = {f["id"] for f in unknown}
    for caller, callee in {tuple(edge) for edge in graph["edges"]}:
        if caller in unknown_ids or callee in unknown_ids:
            judged += 1
            wrong.append((caller, callee))
            continue
        if caller not in matched or callee not in matched:
            continue
        pairs = {(a, b) for a in matched[caller] for b in matched[callee]}
        if pairs & counted:
            judged += 1
            seen |= pairs & counted
        elif any(u in reference.from_macro for pair in pairs for u in pair) or pairs & reference.edges_to_defaulted:
            continue
        else:
            judged += 1
            wrong.append((caller, callee))
    lost = sorted(counted - seen)

    figures = [
        ("definitions found", percent(len(reference.wanted) - len(missing), len(reference.wanted)), options.definitions,
         f"{len(reference.wanted) - len(missing)} of {len(reference.wanted)}"),
        ("definition precision", percent(len(right), len(right) + len(unknown)), options.precision,
         f"{len(right)} of {len(right) + len(unknown)}"),
        ("edges found", percent(len(seen), len(counted)), options.edges, f"{len(seen)} of {len(counted)}"),
        ("edge precision", percent(judged - len(wrong), judged), options.precision, f"{judged - len(wrong)} of {judged}"),
    ]
    for name, value, bar, detail in figures:
        print(f"{name:<21} {value:7.2f} %  at least {bar:g} %  ({detail}){'' if value >= bar else '  BELOW'}")

    if options.show:
        for usr in missing[: options.show]:
            entry = reference.function[usr]
            print(f"missing    {entry['file']}:{entry['line']} {entry['qualified_name']}")
        for function in unknown[: options.show]:
            print(f"unknown    {function['file']}:{function['line']} {function['qualified_name']}")
        for a, b in lost[: options.show]:
            a, b = reference.function[a], reference.function[b]
            print(f"lost edge  {a['file']}:{a['line']} {a['qualified_name']} -> {b['file']}:{b['line']} {b['qualified_name']}")
        for a, b in wrong[: options.show]:
            a, b = by_id[a], by_id[b]
            print(f"wrong edge {a['file']}:{a['line']} {a['qualified_name']} -> {b['file']}:{b['line']} {b['qualified_name']}")
    sys.exit(0 if all(value >= bar for _, value, bar, _ in figures) else 1)


if __name__ == "__main__":
    main()
