#!/usr/bin/env python3
"""Check that Python `tokenizers` and Kiln give the same ids on a corpus.

    check_tokenizer_hf.py CORPUS TOKENIZER_DIR [--kiln PATH] [--random N]

Loads TOKENIZER_DIR/tokenizer.json, of either kind, with the Hugging Face library (pip install tokenizers), encodes every
C and C++ file under CORPUS with both and compares the ids file by file; then N texts of random characters and parts of the
files. Files that are not UTF-8 are left out: Python strings cannot hold them. Special tokens must have the same ids in
both, and what the library decodes must be the text. Exits 0 if all is equal, 1 if not.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
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
    parser.add_argument("--random", type=int, default=2000, metavar="N", help="random texts (default: 2000)")
    arguments = parser.parse_args()

    paths, texts, skipped = read_sources(arguments.corpus)
    if not paths:
        sys.exit(f"{arguments.corpus}: no C or C++ files")
    reference = Tokenizer.from_file(str(arguments.tokenizer_dir / "tokenizer.json"))
    # Names of special tokens inside source files are ordinary text to `kiln tokenizer encode`.
    reference.encode_special_tokens = True

    problems = check_specials(reference, arguments.kiln, arguments.tokenizer_dir)
    compare = lambda paths, texts: compare_ids(reference, arguments.kiln, arguments.tokenizer_dir, paths, texts)
    total, differing = compare(paths, texts)
    print(f"{len(paths)} files, {len(skipped)} not UTF-8 and left out, {total} ids: "
          f"{'DIFFERENT' if differing else 'equal'}")
    with tempfile.TemporaryDirectory() as folder:
        made = random_texts(texts, arguments.random)
        paths = [Path(folder) / f"{number}.cpp" for number in range(len(made))]
        for path, text in zip(paths, made):
            path.write_bytes(text.encode("utf-8"))
        total, random_differing = compare(paths, made)
    print(f"{len(made)} random texts, {total} ids: {'DIFFERENT' if random_differing else 'equal'}")
    sys.exit(1 if differing or random_differing or problems else 0)


def compare_ids(reference, kiln, folder, paths, texts):
    """Number of ids, and the files whose ids differ or do not decode to their text."""
    total, differing = 0, []
    for start in range(0, len(paths), FILES_PER_CALL):
        batch = slice(start, start + FILES_PER_CALL)
        expected = [e.ids for e in reference.encode_batch(texts[batch], add_special_tokens=False)]
        found = kiln_ids(kiln, folder, paths[batch])
        total += sum(map(len, expected))
        path = first_difference(paths[batch], expected, found)
        if path is not None:
            differing.append(path)
            print(f"ids differ from here on: {path}")
        for path, ids, text in zip(paths[batch], expected, texts[batch]):
            if reference.decode(ids, skip_special_tokens=False) != text:
                differing.append(path)
                print(f"the library decodes another text: {path}")
    return total, differing


def check_specials(reference, kiln, folder):
    """Names of special tokens that the library does not give the id of the file."""
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    reference.encode_special_tokens = False
    bad = [t["content"] for t in added if reference.encode(t["content"], add_special_tokens=False).ids != [t["id"]]]
    reference.encode_special_tokens = True
    names = [t["content"] for t in added if reference.token_to_id(t["content"]) != t["id"]]
    print(f"{len(added)} special tokens: {'DIFFERENT ' + ' '.join(bad + names) if bad or names else 'equal'}")
    return bad + names


def random_texts(texts, count):
    """Parts of the files with characters changed, the same in every run."""
    chance = random.Random(1)
    alphabet = " \n\t\r_(){}<>:;.\"'#/0123456789abcXYZ\u00a0\u0301\u00e9\u00c9\u4e16\u01c5\u02b0\u2028\U0001f600"
    made = []
    for _ in range(count):
        text = []
        for _ in range(chance.randint(1, 6)):
            source = chance.choice(texts)
            start = chance.randrange(len(source) + 1)
            text += source[start : start + chance.randint(0, 120)]
            text += chance.choices(alphabet, k=chance.randint(0, 12))
        for _ in range(chance.randint(0, 8)):
            text.insert(chance.randrange(len(text) + 1), chance.choice(alphabet))
        made.append("".join(text))
    return made


if __name__ == "__main__":
    main()
