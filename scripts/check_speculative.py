#!/usr/bin/env python3
"""Check that speculative decoding yields what plain greedy decoding yields, and show how often drafts were right.

    check_speculative.py --checkpoint RUN[/step-N] --data DOCUMENTS.jsonl [--prompts 200] [--max-tokens 64] [--kiln BIN]

Prompts are the beginnings of documents, of lengths from 1 to 400 characters. The time of both is that of the whole command, with
the model loaded each time; the last line compares one long continuation without that. Needs Python 3.9.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path


def prompts(path, count):
    """The beginnings of documents that stand as far apart as possible."""
    lines = path.read_text(encoding="utf-8").splitlines()
    step = max(1, len(lines) // count)
    texts = [json.loads(line)["text"] for line in lines[::step]]
    lengths = [1 + (37 * i) % 400 for i in range(len(texts))]
    found = [text[:length] for text, length in zip(texts, lengths) if text[:length].strip()]
    return found[:count]


def generate(options, prompt, tokens, *flags):
    command = [options.kiln, "generate", "--checkpoint", options.checkpoint, "--max-tokens", str(tokens), "--prompt-file", "-", *flags]
    begin = time.perf_counter()
    done = subprocess.run([str(part) for part in command], input=prompt.encode(), capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    return done.stdout, done.stderr.decode(errors="replace"), time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=Path, default=Path("target/release/kiln"))
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--long", type=int, default=2000, help="tokens of the long continuation")
    options = parser.parse_args()
    plain, drafted = ["--temperature", "0"], ["--speculative"]
    texts = prompts(options.data, options.prompts)
    right = checked = 0
    for number, prompt in enumerate(texts):
        wanted, _, _ = generate(options, prompt, options.max_tokens, *plain)
        found, told, _ = generate(options, prompt, options.max_tokens, *drafted)
        if found != wanted:
            sys.exit(f"prompt {number} ({prompt!r}): speculative decoding wrote\n{found!r}\nand plain decoding\n{wanted!r}")
        counts = re.search(r"(\d+) of (\d+) drafts", told)
        right, checked = right + int(counts[1]), checked + int(counts[2])
    print(f"{len(texts)} prompts: equal; {right} of {checked} drafts right ({100 * right / max(1, checked):.1f} %)")
    rates = {}
    for name, flags in (("plain", plain), ("speculative", drafted)):
        times = []
        for _ in range(5):
            _, _, short = generate(options, texts[0], 1, *flags)
            out, told, whole = generate(options, texts[0], options.long, *flags)
            times.append(whole - short)
        rates[name] = sorted(times)[2]
    print(f"{options.long} tokens at most: plain {rates['plain']:.2f} s, speculative {rates['speculative']:.2f} s: "
          f"{rates['plain'] / rates['speculative']:.2f} times as fast; {told.strip()}")


if __name__ == "__main__":
    main()
