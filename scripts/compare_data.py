#!/usr/bin/env python3
"""Compare what Kiln makes of a corpus: indexed documents with `cpp` tokens, and plain files with `bpe` tokens.

    compare_data.py --kiln PATH --corpus DIR --out DIR [--minutes 10] [--depth 4] [--vocab-size 8192] [--share 0.05]

DIR holds one folder for each project. A share of the files, chosen by a hash of their content so that copies of a file
stay together, is kept away from both sides. Each side makes its documents and its tokenizer from the other files,
trains for the same time with the same seed, and is measured in bits per byte on the same held-out files.

Needs Python 3.9. Everything that is made stays in the output folder.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inc"}


def run(*command):
    print("+", *command, file=sys.stderr, flush=True)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"compare_data.py: {command[1]} {command[2]} ended with {done.returncode}")
    return done.stdout


def is_held_out(content, share):
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def divide(corpus, out, share):
    """Copies the corpus without the held-out files; those become the validation file of a folder of documents."""
    kept, held = out / "sources", out / "held-out"
    shutil.rmtree(kept, ignore_errors=True)
    held.mkdir(parents=True, exist_ok=True)
    documents = []
    for path in sorted(p for p in corpus.rglob("*") if p.is_file() and not p.is_symlink()):
        content = path.read_bytes()
        if path.suffix.lower() in SOURCES and is_held_out(content, share):
            try:
                documents.append(content.decode())
                continue
            except UnicodeDecodeError:
                pass
        copy = kept / path.relative_to(corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    if not documents:
        sys.exit("compare_data.py: no file is held out: the corpus is too small for this share")
    lines = [json.dumps({"text": text}) + "\n" for text in documents if text.strip()]
    # A folder's last file is what is measured; the first only has to be there.
    (held / "train.jsonl").write_text(lines[0])
    (held / "validation.jsonl").write_text("".join(lines))
    return kept, held, len(lines)


def side(kiln, name, kind, command, sources, held, out, options):
    documents, tokenizer, folder = (out / f"{part}-{name}" for part in ("documents", "tokenizer", "run"))
    if name == "plain":
        run(kiln, "corpus", *command, sources, "--projects-dir", "--out", documents, "--overwrite")
        run(kiln, "tokenizer", "train", "--kind", kind, "--vocab-size", options.vocab_size, "--data", documents,
            "--out", tokenizer)
    else:
        # Documents are counted in real tokens, which the plain files of the same sources can teach.
        run(kiln, "tokenizer", "train", "--kind", kind, "--vocab-size", options.vocab_size, "--data", sources,
            "--out", tokenizer)
        run(kiln, "corpus", *command, sources, "--projects-dir", "--tokenizer", tokenizer, "--out", documents,
            "--overwrite")
    shutil.rmtree(folder, ignore_errors=True)
    run(kiln, "train", "--tokenizer", tokenizer, "--data", documents, "--validation-share", "0.01", "--depth",
        options.depth, "--minutes", options.minutes, "--seed", options.seed, "--out", folder)
    measured = json.loads(run(kiln, "eval", "bpb", "--checkpoint", folder, "--data", held, "--json"))
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [step for step in steps if "loss" in step]
    size = sum(f.stat().st_size for f in documents.iterdir())
    return {"name": f"{name}, {kind}", "bpb": measured, "tokens": steps[-1]["tokens"], "steps": len(steps), "bytes": size}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=Path, default=Path("target/release/kiln"))
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", default="10")
    parser.add_argument("--depth", default="4")
    parser.add_argument("--vocab-size", default="8192")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--side", choices=("plain", "indexed"), help="only one of them")
    options = parser.parse_args()
    sources, held, count = divide(options.corpus, options.out, options.share)
    print(f"{count} files held out", file=sys.stderr)
    sides = [("plain", "bpe", ["files"]), ("indexed", "cpp", ["index"])]
    for name, kind, command in sides:
        if options.side in (None, name):
            found = side(options.kiln, name, kind, command, sources, held, options.out, options)
            print(json.dumps(found))


if __name__ == "__main__":
    main()
