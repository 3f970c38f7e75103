"""Check that this PyTorch model and optimizer compute what Kiln's fixtures say.

    check.py FIXTURES_DIR MODE...

Every model fixture that has only the options of the two presets: its loss and all its gradients. Both trajectories:
the loss of every step and the parameters after the last. f32 modes must come within a small multiple of rounding; bf16
modes within what bf16 rounding does to a model of this size. Exits 1 if any is off.
"""

import json
import struct
import sys
from pathlib import Path

import torch

from model import Config
from optimizer import group_of
from training import BF16_STYLES, Training

DTYPES = {"F32": torch.float32, "I32": torch.int32}
MODELS = ("classic", "classic_L", "value_embeds", "smear", "backout", "modern")
# Largest errors: of losses relative to them, of a tensor as |a - b| / |b| in the Frobenius norm.
LIMITS = {"f32": {"loss": 2e-6, "gradient": 5e-6, "trajectory": 1e-5, "parameter": 1e-4},
          "bf16": {"loss": 2e-2, "gradient": 1e-1, "trajectory": 2e-2, "parameter": 1e-1}}


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


def error(a, b):
    """|a - b| / |b| in the Frobenius norm."""
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


def check_model(folder, name, mode, style):
    """{what: error} of one model fixture."""
    meta = json.loads((folder / f"model_{name}.json").read_text())
    tensors = read_safetensors(folder / f"model_{name}.safetensors")
    weights = parameters(read_safetensors(folder / meta["params_file"]), meta["params"])
    ids, targets = tensors["in.ids"].long(), tensors["in.targets"].long()
    training = Training(Config.from_json(meta["config"]), mode, style, ids.numel(), weights)
    loss = training.gradients(ids, targets)
    worst = 0.0
    for n, p in training.weights.items():
        gradient = p.grad.float()[:: meta["grad_row_stride"].get(n, 1)]
        worst = max(worst, error(gradient, tensors[f"grad.param.{n}"]))
        worst = max(worst, abs(p.grad.double().norm().item() / meta["grad_frobenius"][n] - 1))
    return {"loss": abs(loss / tensors["out.loss"].item() - 1), "gradient": worst}


def check_trajectory(folder, name, mode, style):
    """{what: error} of a fixture of several training steps."""
    meta = json.loads((folder / f"traj_{name}.json").read_text())
    tensors = read_safetensors(folder / f"traj_{name}.safetensors")
    attrs, config = meta["attrs"], Config.from_json(meta["config"])
    for n, expected in meta["groups"].items():
        found = group_of(n, config.n_embd, attrs["tokens_per_batch"])
        assert found[0] == expected[0] and abs(found[1] / expected[1] - 1) < 1e-12, (n, found, expected)
    training = Training(config, mode, style, attrs["tokens_per_batch"], parameters(tensors, meta["groups"]))
    worst = 0.0
    for t, (ids, targets) in enumerate(zip(tensors["in.ids"].long(), tensors["in.targets"].long())):
        schedule = attrs["lr_mult"][t], attrs["momentum"][t], attrs["weight_decay"][t]
        _, _, loss = training.timed(ids, targets, schedule)
        worst = max(worst, abs(loss / tensors["out.loss"][t].item() - 1))
    final = max(error(p.detach(), tensors[f"out.param.{n}"]) for n, p in training.masters.items())
    return {"trajectory": worst, "parameter": final}


def main():
    folder, modes = Path(sys.argv[1]), sys.argv[2:]
    cases = [("model", n, check_model) for n in MODELS] + [("traj", n, check_trajectory) for n in ("classic", "modern")]
    good = True
    for mode in modes:
        dtype = mode.split("-")[1]
        for style in BF16_STYLES if dtype == "bf16" else ("",):
            for kind, name, check in cases:
                errors = check(folder, name, mode, style)
                off = [what for what, e in errors.items() if not e <= LIMITS[dtype][what]]
                good = good and not off
                numbers = ", ".join(f"{what} off by {e:.1e}" for what, e in errors.items())
                verdict = f"TOO MUCH ({', '.join(off)})" if off else "ok"
                print(f"{mode + ' ' + style:22} {kind}_{name:13} {numbers}: {verdict}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
