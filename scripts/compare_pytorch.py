#!/usr/bin/env python3
"""Compare the speed of Kiln's training steps with PyTorch's, on this machine.

    compare_pytorch.py [--kiln PATH] [--preset modern] [--depth 6] ...
    compare_pytorch.py --check tests/fixtures

The same model and optimizer, written in plain PyTorch in the folder beside this file, run in turn with `kiln bench
train`: each round measures Kiln once and then every mode of PyTorch once, and every ratio is taken within a round, so
that both saw the machine in the same state. The table shows medians over the rounds. Compilation and warm-up are not
counted; on both sides the time with the optimizer is that of the micro-batches plus one optimizer step.

PyTorch gets its best in bf16: bf16 copies of the weights and autocast are both tried, the faster one is measured.

--check compares the PyTorch model with Kiln's fixtures in place of measuring: losses, gradients, training steps.

Needs Python 3.9 and PyTorch 2.4 or newer (pip install torch); compiled modes also need a C++ compiler.
"""

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTORCH = Path(__file__).resolve().parent / "compare_pytorch"
MODES = ("eager-f32", "compiled-f32", "eager-bf16", "compiled-bf16")
BF16_STYLES = ("copies", "autocast")
BUSY = 0.1  # cores that other programs may keep busy before the figures deserve a warning


class Failed(Exception):
    """What the user is told, in one line."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def say_exit(process):
    code = process.wait()
    if code >= 0:
        return f"exit status {code}"
    return f"signal {signal.Signals(-code).name}" + (", perhaps for lack of memory" if code == -signal.SIGKILL else "")


class Kiln:
    """`kiln bench train`, a new process for every measurement."""

    def __init__(self, binary, dtype, arguments):
        self.name = f"kiln {dtype}" if dtype else "kiln"
        self.command = [str(binary), "bench", "train", "--json", "--quiet", "--runs", "1", *arguments]
        if dtype:
            self.command += ["--dtype", dtype]
        self.details = {}

    def measure(self, _step):
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate()
        if process.returncode != 0:
            told = err.strip().splitlines()
            raise Failed(f"{' '.join(self.command)}: {told[0] if told else say_exit(process)}")
        self.report = json.loads(out)
        train = self.report["config"]["train"]
        chosen = self.report.get("dtype") or train.get("dtype") or self.report["config"]["model"].get("dtype")
        self.name = f"kiln {chosen}" if chosen else self.name
        tokens = train["seq_len"] * train["device_batch_size"]
        return {
            "step_seconds": tokens / self.report["step_tokens_per_second"],
            "optimizer_seconds": self.report["optimizer_seconds"],
            "product_gflops": self.report["product_gflops"],
            "peak_rss_bytes": self.report["peak_rss_bytes"],
        }

    def finish(self, samples):
        peaks = [s["peak_rss_bytes"] for s in samples if s["peak_rss_bytes"]]
        self.details["peak_rss_bytes"] = max(peaks, default=None)


class PyTorch:
    """A worker process that has compiled and warmed up one mode, and waits for its turns."""

    def __init__(self, mode, style, kiln_report):
        self.name, self.details = f"PyTorch {mode}", {"style": style} if style else {}
        train, threads = kiln_report["config"]["train"], kiln_report["threads"]
        spec = {"mode": mode, "style": style, "threads": threads, "model": kiln_report["config"]["model"],
                "rows": train["device_batch_size"]}
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(PYTORCH / "worker.py"), json.dumps(spec)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def warm_up(self):
        self.details.update(self.answer())

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: the process ended with {say_exit(self.process)}")
        value = json.loads(line)
        if "error" in value:
            raise Failed(f"{self.name}: {value['error']}")
        return value

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() tells how it ended
        return self.answer()

    def measure(self, step):
        return self.ask(f"step {step}")

    def finish(self, _samples):
        self.details.update(self.ask("finish"))

    def stop(self):
        self.process.kill()
        self.process.wait()


def start(mode, kiln_report, workers):
    """Starts a mode and adds it to `workers`; in bf16 the faster of its styles, by the best of three steps each."""
    candidates = []
    try:
        for style in BF16_STYLES if mode.endswith("bf16") else ("",):
            note(f"warming up {mode} {style}".rstrip())
            candidates.append(PyTorch(mode, style, kiln_report))
            candidates[-1].warm_up()
        if len(candidates) > 1:
            turns = [[c.measure(step)["step_seconds"] for c in candidates] for step in (1, 2, 3)]
            best = [min(seconds) for seconds in zip(*turns)]
            workers.append(candidates.pop(best.index(min(best))))
        else:
            workers.append(candidates.pop())
    finally:
        for candidate in candidates:
            candidate.stop()


def other_load():
    """Cores that other programs keep busy now, while nothing of ours runs; None where the system does not say."""
    def busy():
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]  # all but idle and waiting for input
    try:
        begin, before = time.monotonic(), busy()
        time.sleep(0.5)
        return (busy() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begin)
    except (OSError, ValueError, AttributeError):
        return None


def measure(contestants, runs, accumulation, tokens):
    """-> [{"other_load", "samples": {name: sample}}], one a round; a sample also holds its rates."""
    rounds = []
    for number in range(1, runs + 1):
        load, samples = other_load(), {}
        for contestant in contestants:
            sample = contestant.measure(number)
            together = accumulation * sample["step_seconds"] + sample["optimizer_seconds"]
            sample["tokens_per_second"] = tokens / sample["step_seconds"]
            sample["with_optimizer_tokens_per_second"] = accumulation * tokens / together
            samples[contestant.name] = sample
        rounds.append({"other_load": load, "samples": samples})
        rates = ", ".join(f"{name} {s['tokens_per_second']:,.0f}" for name, s in samples.items())
        note(f"round {number}/{runs}: {rates} tokens/s")
    return rounds


def ratios(kiln, other, rounds):
    """How many times faster `kiln` is than `other`, paired by round."""
    def pairs(key):
        return [r["samples"][kiln][key] / r["samples"][other][key] for r in rounds]
    step = pairs("tokens_per_second")
    return {"step": statistics.median(step), "least": min(step), "most": max(step),
            "with_optimizer": statistics.median(pairs("with_optimizer_tokens_per_second"))}


def summarize(contestants, kilns, rounds, mflop_per_token):
    """One row per contestant: medians, and for PyTorch's the ratios of each kiln to it."""
    rows = []
    for contestant in contestants:
        row = {"name": contestant.name, **contestant.details}
        for key in ("tokens_per_second", "optimizer_seconds", "with_optimizer_tokens_per_second"):
            row[key] = statistics.median(r["samples"][contestant.name][key] for r in rounds)
        row["gflops"] = row["tokens_per_second"] * mflop_per_token / 1e3
        compared = () if contestant in kilns else kilns
        row["ratios"] = {kiln.name: ratios(kiln.name, contestant.name, rounds) for kiln in compared}
        rows.append(row)
    return rows


def print_table(rows, kilns, accumulation):
    head = ["", "tokens/s", "GFLOP/s", "optimizer", f"tokens/s, {accumulation}+opt.", "peak memory"]
    for kiln in kilns:
        head += [f"{kiln.name} is", "(range)", "with opt."]
    lines = [head]
    for row in rows:
        style = f" ({row['style']})" if row.get("style") else ""
        peak = row["peak_rss_bytes"]
        line = [row["name"] + style, f"{row['tokens_per_second']:,.0f}", f"{row['gflops']:,.0f}",
                f"{1e3 * row['optimizer_seconds']:,.0f} ms", f"{row['with_optimizer_tokens_per_second']:,.0f}",
                f"{peak / 1e9:.2f} GB" if peak else "-"]
        for kiln in kilns:
            r = row["ratios"].get(kiln.name)
            line += [""] * 3 if r is None else [
                f"{r['step']:.2f} x", f"{r['least']:.2f}-{r['most']:.2f}", f"{r['with_optimizer']:.2f} x"]
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def compare(args):
    arguments = ["--preset", args.preset, "--depth", args.depth, "--head-dim", 64, "--seq-len", args.seq_len,
                 "--device-batch-size", args.device_batch_size, "--vocab-size", args.vocab_size,
                 "--accumulation", args.accumulation]
    if args.threads:
        arguments += ["--threads", args.threads]
    binary = find_kiln(args.kiln)
    kilns = [Kiln(binary, dtype, [str(a) for a in arguments]) for dtype in args.kiln_dtype.split(",")]
    for kiln in kilns:
        note(f"warming up {kiln.name}")
        kiln.measure(0)
    report = kilns[0].report
    workers, failures = [], []
    try:
        for mode in args.modes:
            try:
                start(mode, report, workers)
            except Failed as e:
                failures.append(str(e))
                note(f"left out: {e}")
        if not workers:
            raise Failed("no mode of PyTorch could be measured")
        contestants = kilns + workers
        tokens = args.seq_len * args.device_batch_size
        rounds = measure(contestants, args.runs, args.accumulation, tokens)
        for contestant in contestants:
            contestant.finish([r["samples"][contestant.name] for r in rounds])
    finally:
        for worker in workers:
            worker.stop()
    rows = summarize(contestants, kilns, rounds, report["mflop_per_token"])
    show(args, report, kilns, rows, rounds)
    return 1 if failures else 0


def show(args, report, kilns, rows, rounds):
    workers = [row for row in rows if "torch" in row]
    version = workers[0]["torch"]
    if args.json:
        config = {"model": report["config"]["model"], "rows": args.device_batch_size, "threads": report["threads"]}
        print(json.dumps({"torch": version, "isa": report["isa"], "mflop_per_token": report["mflop_per_token"],
                          **config, "summary": rows, "rounds": rounds}, indent=2))
        return
    model = report["config"]["model"]
    print(f"PyTorch {version}, kiln on {report['isa']}, {report['threads']} threads each")
    print(f"{model['preset']}, {model['n_layer']} layers, width {model['n_embd']}, {model['n_head']} heads, "
          f"T {args.seq_len}, vocabulary {args.vocab_size:,}, micro-batch {args.device_batch_size}, "
          f"{report['mflop_per_token']:.1f} MFLOP per token; median of {args.runs} rounds\n")
    print_table(rows, kilns, args.accumulation)
    imports = max(w["import_rss_bytes"] or 0 for w in workers)
    print(f"\nOf PyTorch's memory {imports / 1e9:.2f} GB is there once it is imported.")
    loads = [r["other_load"] for r in rounds if r["other_load"] is not None]
    if loads and max(loads) > BUSY:
        print(f"Other programs kept up to {max(loads):.1f} cores busy: these figures are noisy, and to PyTorch's "
              "disadvantage. Measure again when the machine is idle.")


def find_kiln(given):
    places = [Path(given)] if given else [ROOT / "target" / "release" / "kiln", shutil.which("kiln")]
    for place in places:
        if place and Path(place).is_file():
            return Path(place)
    if given:
        raise Failed(f"there is no kiln binary at {given}")
    raise Failed("there is no kiln binary: build it with `cargo build --release`, or name it with --kiln PATH")


def modes(text):
    chosen = text.split(",")
    for mode in chosen:
        if mode not in MODES:
            raise argparse.ArgumentTypeError(f"{mode} is none of {', '.join(MODES)}")
    return list(dict.fromkeys(chosen))


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", metavar="PATH", help="the binary [default: target/release/kiln, then the PATH]")
    parser.add_argument("--kiln-dtype", default="", metavar="LIST",
                        help="f32, bf16 or both, as in f32,bf16 [default: kiln's own choice]")
    parser.add_argument("--preset", choices=("classic", "modern"), default="modern")
    parser.add_argument("--depth", type=positive, default=6, metavar="N",
                        help="layers; the width is 64 times that [default: 6]")
    parser.add_argument("--seq-len", type=positive, default=512, metavar="T", help="tokens per row [default: 512]")
    parser.add_argument("--device-batch-size", type=positive, default=8, metavar="B",
                        help="rows per micro-batch [default: 8]")
    parser.add_argument("--vocab-size", type=positive, default=32768, metavar="N", help="[default: 32768]")
    parser.add_argument("--accumulation", type=positive, default=4, metavar="N",
                        help="micro-batches per optimizer step in the figures with the optimizer [default: 4]")
    parser.add_argument("--modes", type=modes, default=list(MODES), metavar="LIST",
                        help=f"[default: {','.join(MODES)}]")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="rounds; the median counts [default: 5]")
    parser.add_argument("--threads", type=positive, metavar="N", help="of both sides [default: kiln's own choice]")
    parser.add_argument("--json", action="store_true", help="print JSON, with every measurement, instead of a table")
    parser.add_argument("--check", type=Path, metavar="FIXTURES_DIR",
                        help="check the PyTorch model against Kiln's fixtures instead of measuring")
    return parser.parse_args()


def main():
    args = parse()
    try:
        if importlib.util.find_spec("torch") is None:
            raise Failed("PyTorch is not installed for this Python: `pip install torch`; for a smaller, CPU-only build "
                         "see the `--index-url` that pytorch.org names for your system")
        if args.check:
            if not (args.check / "model_classic.json").is_file():
                raise Failed(f"there are no model fixtures in {args.check}: name the repository's tests/fixtures")
            command = [sys.executable, "-B", str(PYTORCH / "check.py"), str(args.check), *args.modes]
            return subprocess.run(command).returncode
        return compare(args)
    except Failed as e:
        note(f"error: {e}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
