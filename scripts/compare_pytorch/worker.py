"""One mode of PyTorch in a process of its own, so that its peak memory is its own. Takes a JSON specification as its
argument and commands as lines on stdin; answers each with one JSON line.

    {"mode", "style", "threads", "model", "rows"}      model: Kiln's configuration, rows: of a micro-batch
    <- {"torch", "import_rss_bytes"}                   when compiled and warmed up
    step N   -> {"step_seconds", "optimizer_seconds", "loss"}
    finish   -> {"peak_rss_bytes"}

What goes wrong is answered as {"error": text}.
"""

import json
import os
import sys


def peak_rss_bytes():
    """Most memory that this process ever had, or None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def made_up_batch(step, rows, T, vocab):
    """The ids of `kiln bench train`; targets are the next ones."""
    import torch

    n = rows * T
    ids = (torch.arange(n + 1) * 7919 + step * 104_729) % vocab
    return ids[:n].view(rows, T), ids[1:].view(rows, T)


def serve(spec, answer):
    import torch

    import_rss = peak_rss_bytes()
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    from model import Config
    from optimizer import schedules
    from training import Training

    config = Config.from_json(spec["model"])
    T = config.sequence_len
    training = Training(config, spec["mode"], spec["style"], spec["rows"] * T)

    def step(number):
        batch = made_up_batch(number, spec["rows"], T, config.vocab_size)
        return training.timed(*batch, schedules(number, 1000, config.n_layer))

    # The first step compiles; the second is the first whose optimizer state and memory are those of all that follow.
    step(0)
    step(0)
    answer({"torch": torch.__version__, "import_rss_bytes": import_rss})
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "finish":
            answer({"peak_rss_bytes": peak_rss_bytes()})
            return
        step_seconds, optimizer_seconds, loss = step(int(arguments[0]))
        answer({"step_seconds": step_seconds, "optimizer_seconds": optimizer_seconds, "loss": loss})


def main():
    # Libraries may print to stdout: keep it for answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    try:
        serve(json.loads(sys.argv[1]), answer)
    except KeyboardInterrupt:
        return 130
    except SystemExit as e:
        answer({"error": str(e)})
        return 1
    except Exception as e:
        lines = [line for line in str(e).splitlines() if line.strip()]
        answer({"error": f"{type(e).__name__}: {lines[0] if lines else ''}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
