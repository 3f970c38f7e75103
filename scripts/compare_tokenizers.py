#!/usr/bin/env python3
"""Time rustbpe, tiktoken and Kiln on the same text, in one run.

    compare_tokenizers.py CORPUS [--kiln PATH] [--vocab-size N] [--threads N] [--runs N]

Trains a vocabulary on every C and C++ file under CORPUS that is UTF-8 with rustbpe and with Kiln, and encodes the files with
tiktoken and with Kiln, both with Kiln's vocabulary of kind bpe, so that both find the same tokens (this is checked). All
with the same number of threads, in turn, RUNS times; medians are printed. Kiln is measured by `kiln bench tokenizer`, which
like the others starts from documents in memory.

Needs: pip install rustbpe tiktoken
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUFFIXES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inc"}
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def read_sources(corpus):
    """Texts of the C and C++ files, sorted by path; files that are not UTF-8 are left out."""
    texts = []
    for path in sorted(p for p in corpus.rglob("*") if p.suffix in SUFFIXES and p.is_file()):
        try:
            texts.append(path.read_bytes().decode("utf-8"))
        except UnicodeDecodeError:
            pass
    return texts


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def run_kiln(kiln, threads, *arguments):
    command = [kiln, *map(str, arguments), "--threads", str(threads), "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def kiln_encoding(kiln, threads, documents, vocab_size, folder):
    """tiktoken with the vocabulary that Kiln learns from the documents."""
    import tiktoken

    size = ["--vocab-size", vocab_size]
    model, ranks = folder / "bpe", folder / "bpe.tiktoken"
    run_kiln(kiln, threads, "tokenizer", "train", "--kind", "bpe", "--data", documents, "--out", model, *size)
    run_kiln(kiln, threads, "tokenizer", "export", "--tokenizer", model, "--format", "tiktoken", "--out", ranks)
    lines = (line.split() for line in ranks.read_bytes().splitlines())
    mergeable = {base64.b64decode(token): int(rank) for token, rank in lines}
    return tiktoken.Encoding("kiln", pat_str=PATTERN, mergeable_ranks=mergeable, special_tokens={})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--kiln", default="kiln", help="the kiln binary (default: from PATH)")
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    # rustbpe's threads are those of its pool, which reads this once.
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    import rustbpe

    texts = read_sources(arguments.corpus)
    if not texts:
        sys.exit(f"{arguments.corpus}: no C or C++ files")
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    seconds = {name: [] for name in ("rustbpe", "tiktoken", "bpe train", "cpp train", "bpe encode", "cpp encode")}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        documents = folder / "documents.jsonl"
        with documents.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        encoding = kiln_encoding(arguments.kiln, arguments.threads, documents, arguments.vocab_size, folder)
        for _ in range(arguments.runs):
            trainer = rustbpe.Tokenizer()
            # The nine special tokens are no part of rustbpe's size.
            train = lambda: trainer.train_from_iterator(iter(texts), arguments.vocab_size - 9, pattern=PATTERN)
            seconds["rustbpe"].append(timed(train)[1])
            encode = lambda: encoding.encode_ordinary_batch(texts, num_threads=arguments.threads)
            ids, spent = timed(encode)
            seconds["tiktoken"].append(spent)
            output = run_kiln(
                arguments.kiln, arguments.threads, "bench", "tokenizer", "--data", documents, "--runs", 1,
                "--vocab-size", arguments.vocab_size, "--json",
            )
            for row in json.loads(output)["kinds"]:
                seconds[row["kind"] + " train"].append(row["train_seconds"])
                seconds[row["kind"] + " encode"].append(megabytes / row["first_megabytes_per_second"])
                if row["kind"] == "bpe" and row["tokens"] != sum(map(len, ids)):
                    sys.exit(f"tiktoken finds {sum(map(len, ids))} tokens, kiln {row['tokens']}")

    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(texts)} files, {megabytes:.1f} MB, {arguments.vocab_size} ids, {arguments.threads} threads, "
          f"medians of {arguments.runs} runs\n")
    print(f"training    rustbpe   {median['rustbpe']:8.3f} s")
    for kind in ("bpe", "cpp"):
        spent = median[kind + " train"]
        print(f"            kiln {kind}  {spent:8.3f} s     {median['rustbpe'] / spent:6.2f} times as fast")
    print(f"encoding    tiktoken  {megabytes / median['tiktoken']:8.1f} MB/s")
    for kind in ("bpe", "cpp"):
        spent = median[kind + " encode"]
        print(f"            kiln {kind}  {megabytes / spent:8.1f} MB/s  {median['tiktoken'] / spent:6.2f} times as fast")


if __name__ == "__main__":
    main()
