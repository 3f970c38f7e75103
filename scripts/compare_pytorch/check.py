"""Check that this PyTorch model and optimizer compute what Kiln's fixtures say.

    check.py FIXTURES_DIR MODE...

Every model fixture that has only the options of the two presets: its loss and all its gradients. Both trajectories:
the loss of every step and the parameters after the last. Exits 1 if any is off.

An error is |a - b| / |b| in the Frobenius norm. In f32 the limits are those of Kiln's own fixture tests, which leave
room for float32 arithmetic in another order; in bf16, for what rounding to 8 bits does to models of this size.
"""

import json
import math
import struct
import sys
from pathlib import Path

import torch

from model import Config
from optimizer import group_of
from training import BF16_STYLES, Training

DTYPES = {"F32": torch.float32, "I32": torch.int32}
LIMITS = {"f32": {"out.loss": 2e-5, "tensor": 1e-4}, "bf16": {"out.loss": 2e-2, "tensor": 1e-1}}


def read_safetensors(path):
    """{name: tensor}: 8 bytes of header length, a JSON header, the values."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            values = torch.frombuffer(bytearray(data[begin:end]), dtype=DTYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def parameters(tensors, names):
    return {n: tensors[f"param.{n}"].clone() for n in names}


def model_results(folder, meta, tensors, mode, style):
    """(what, found, expected) of a model fixture: the loss and all gradients."""
    weights = parameters(read_safetensors(folder / meta["params_file"]), meta["params"])
    ids, targets = tensors["in.ids"].long(), tensors["in.targets"].long()
    training = Training(Config.from_json(meta["config"]), mode, style, ids.numel(), weights)
    yield "out.loss", torch.tensor([training.gradients(ids, targets)]), tensors["out.loss"]
    for n, p in training.weights.items():
        stride = meta["grad_row_stride"].get(n, 1)
        yield f"grad.param.{n}", p.grad[::stride], tensors[f"grad.param.{n}"]
        whole = torch.tensor([meta["grad_frobenius"][n]], dtype=torch.float64)
        yield f"grad.param.{n}", p.grad.double().norm()[None], whole


def trajectory_results(folder, meta, tensors, mode, style):
    """(what, found, expected) of several training steps: the losses and the last parameters."""
    attrs, config = meta["attrs"], Config.from_json(meta["config"])
    for n, (kind, lr) in meta["groups"].items():
        found = group_of(n, config.n_embd, attrs["tokens_per_batch"])
        assert found[0] == kind and math.isclose(found[1], lr), (n, found, kind, lr)
    training = Training(config, mode, style, attrs["tokens_per_batch"], parameters(tensors, meta["groups"]))
    losses = []
    for t, (ids, targets) in enumerate(zip(tensors["in.ids"].long(), tensors["in.targets"].long())):
        losses.append(training.gradients(ids, targets))
        training.step(attrs["lr_mult"][t], attrs["momentum"][t], attrs["weight_decay"][t])
    yield "out.loss", torch.tensor(losses), tensors["out.loss"]
    for n, p in training.masters.items():
        yield f"out.param.{n}", p.detach(), tensors[f"out.param.{n}"]


def worst(results, limits):
    """(error over what is allowed, error, what) of the worst result."""
    verdicts = []
    for what, a, b in results:
        a, b = a.double(), b.double()
        error = ((a - b).norm() / b.norm()).item()
        share = error / limits.get(what, limits["tensor"])
        verdicts.append((share if math.isfinite(share) else math.inf, error, what))
    return max(verdicts)


CASES = [(f"model_{name}", model_results)
         for name in ("classic", "classic_L", "value_embeds", "smear", "backout", "modern")]
CASES += [(f"traj_{name}", trajectory_results) for name in ("classic", "modern")]


def main():
    folder, modes = Path(sys.argv[1]), sys.argv[2:]
    good = True
    for mode in modes:
        dtype = mode.split("-")[1]
        for style in BF16_STYLES if dtype == "bf16" else ("",):
            for name, results in CASES:
                meta = json.loads((folder / f"{name}.json").read_text())
                tensors = read_safetensors(folder / f"{name}.safetensors")
                torch.compiler.reset()
                share, error, what = worst(results(folder, meta, tensors, mode, style), LIMITS[dtype])
                good = good and share <= 1
                verdict = "ok" if share <= 1 else "OFF"
                print(f"{verdict:4} {mode + ' ' + style:23} {name:19} worst: {what} by {error:.1e}, "
                      f"{share:.2f} of what is allowed", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
