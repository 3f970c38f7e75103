#!/usr/bin/env python3
"""Check that Python `tokenizers` and Kiln give the same ids on a corpus.

    check_tokenizer_hf.py CORPUS TOKENIZER_DIR [--kiln PATH]

Loads TOKENIZER_DIR/tokenizer.json with the Hugging Face library (pip install tokenizers), encodes every
C and C++ file under CORPUS with both and compares the ids file by file. Files that are not UTF-8 are left out:
Python strings cannot hold them. Exits 0 if all ids are equal, 1 if not.
"""

import argparse
import subprocess
import sys
from array import array
from pathlib import Path

from tokenizers import Tokenizer

SUFFIXES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inc"}
FILES_PER_CALL = 200  # keeps command lines short; loading the tokenizer anew costs little


def read_sources(corpus):
    """Paths and texts of the C and C++ files, sorted; a list of those that are not UTF-8."""
    paths, texts, skipped = [], [], []
    for path in sorted(p for p in corpus.rglob("*") if p.suffix in SUFFIXES and p.is_file()):
        try:
            texts.append(path.read_bytes().decode("utf-8"))
            paths.append(path)
        except UnicodeDecodeError:
            skipped.append(path)
    return paths, texts, skipped


def kiln_ids(kiln, folder, paths):
    """Ids of all `paths` in order, nothing between the files."""
    command = [kiln, "tokenizer", "encode", "--tokenizer", str(folder), "--format", "u32le"]
    output = subprocess.run(command + [str(p) for p in paths], stdout=subprocess.PIPE, check=True).stdout
    ids = array("I")
    assert ids.itemsize == 4
    ids.frombytes(output)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids


def first_difference(paths, expected, found):
    """Name the file where the concatenated ids part, or None."""
    at = 0
    for path, ids in zip(paths, expected):
        if found[at : at + len(ids)] != array("I", ids):
            return path
        at += len(ids)
    return paths[-1] if at != len(found) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tokenizer_dir", type=Path)
    parser.add_argument("--kiln", default="kiln", help="the kiln binary (default: from PATH)")
    arguments = parser.parse_args()

    paths, texts, skipped = read_sources(arguments.corpus)
    if not paths:
        sys.exit(f"{arguments.corpus}: no C or C++ files")
    reference = Tokenizer.from_file(str(arguments.tokenizer_dir / "tokenizer.json"))
    # Names of special tokens inside source files are ordinary text to `kiln tokenizer encode`.
    reference.encode_special_tokens = True

    total, differing = 0, []
    for start in range(0, len(paths), FILES_PER_CALL):
        batch = slice(start, start + FILES_PER_CALL)
        expected = [e.ids for e in reference.encode_batch(texts[batch], add_special_tokens=False)]
        found = kiln_ids(arguments.kiln, arguments.tokenizer_dir, paths[batch])
        total += sum(map(len, expected))
        path = first_difference(paths[batch], expected, found)
        if path is not None:
            differing.append(path)
            print(f"ids differ from here on: {path}")
    print(f"{len(paths)} files, {len(skipped)} not UTF-8 and left out, {total} ids: "
          f"{'DIFFERENT' if differing else 'equal'}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
