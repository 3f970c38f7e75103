"""Muon for the matrices inside blocks, AdamW for the rest, on f32 parameters.

Muon treats matrices of one shape as one stack, which is how PyTorch is fastest at it. AdamW is PyTorch's own, fused.
"""

import math

import torch

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
BETA2 = 0.95  # of Muon's variance reduction


def orthogonalize(x, dtype):
    """Polar Express on a stack of matrices; products in `dtype`."""
    tall = x.shape[-2] > x.shape[-1]
    x = x / (1.02 * x.norm(dim=(-2, -1), keepdim=True) + 1e-6)
    x = (x.mT if tall else x).to(dtype)
    for a, b, c in POLAR_EXPRESS:
        A = x @ x.mT
        x = a * x + (b * A + c * (A @ A)) @ x
    return x.mT if tall else x


def muon_step(w, g, momentum, variance, lr, mu, decay, dtype):
    """One step of a stack [n, rows, cols]. Updates `momentum` and `variance`, returns the new w. lr, mu and decay are
    tensors, so that a new value compiles nothing."""
    rows, cols = w.shape[-2:]
    momentum.lerp_(g, 1 - mu)
    x = orthogonalize(torch.lerp(g, momentum, mu), dtype).to(w.dtype)
    size = x.norm(dim=(-2, -1), keepdim=True)
    mean_square = x.square().mean(-1 if rows >= cols else -2, keepdim=True)
    variance.lerp_(mean_square, 1 - BETA2)
    x = x * variance.clamp_min(1e-10).rsqrt()
    x = x * (size / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-10))
    lr = lr * math.sqrt(max(1, rows / cols))
    return w - lr * x - lr * decay * w * (x * w >= 0)


def group_of(name, n_embd, tokens):
    """("muon" | "adamw", learning rate for a batch of so many tokens)."""
    batch, width = math.sqrt(tokens / 2**19), (n_embd / 768) ** -0.5
    if name.startswith("transformer.h."):
        return "muon", 0.02 * batch
    if name == "transformer.wte.weight":
        return "adamw", 0.3 * width * batch
    if name == "lm_head.weight":
        return "adamw", 0.004 * width * batch
    if name.startswith("value_embeds."):
        return "adamw", 0.15 * width * batch
    return "adamw", {"resid_lambdas": 0.005, "x0_lambdas": 0.5}.get(name, 0.2) * batch


class Optimizer:
    """Both optimizers over {name: f32 parameter}; gradients are handed in by name, in any dtype."""

    def __init__(self, parameters, n_embd, tokens, dtype, compiled):
        self.parameters, self.dtype = parameters, dtype
        self.muon_step = torch.compile(muon_step, fullgraph=True, dynamic=False) if compiled else muon_step
        adamw, stacks = [], {}
        for name, p in parameters.items():
            kind, lr = group_of(name, n_embd, tokens)
            if kind == "adamw":
                adamw.append({"params": [p], "lr": lr, "base": lr})
            else:
                stacks.setdefault(p.shape, []).append(name)
                self.muon_lr = lr
        self.adamw = torch.optim.AdamW(adamw, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=True)
        self.stacks = [(names, *self.muon_state(shape, names)) for shape, names in stacks.items()]

    def muon_state(self, shape, names):
        """Momentum, and one second moment per row where rows >= cols, else one per column."""
        rows, cols = shape
        like = self.parameters[names[0]]
        per = (rows, 1) if rows >= cols else (1, cols)
        return like.new_zeros(len(names), rows, cols), like.new_zeros(len(names), *per)

    @torch.no_grad()
    def step(self, gradients, multiplier, mu, decay):
        """`multiplier` of all rates, Muon's momentum `mu` and weight decay `decay`, as the schedules give them."""
        for group in self.adamw.param_groups:
            group["lr"] = group["base"] * multiplier
        for name, p in self.parameters.items():
            if not name.startswith("transformer.h."):
                p.grad = gradients[name].to(p.dtype)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        for names, momentum, variance in self.stacks:
            ws = [self.parameters[n].detach() for n in names]
            w, g = torch.stack(ws), torch.stack([gradients[n] for n in names]).to(ws[0].dtype)
            lr, mu_, decay_ = (w.new_tensor(x) for x in (self.muon_lr * multiplier, mu, decay))
            new = self.muon_step(w, g, momentum, variance, lr, mu_, decay_, self.dtype or w.dtype)
            torch._foreach_copy_(ws, list(new.unbind()))


def schedules(step, steps, depth):
    """(rate multiplier, momentum, weight decay) at `step` of `steps`, with warm-down over the last 40 %."""
    down = round(0.4 * steps)
    multiplier = 1.0 if step <= steps - down else (steps - step) / down
    return multiplier, 0.85 + 0.1 * min(step / 300, 1), 0.2 * (12 / depth) ** 2 * (1 - step / steps)
