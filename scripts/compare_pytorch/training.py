"""A model in one of the compared modes: gradients of a micro-batch, and the optimizer step."""

import contextlib
import time

import torch

from model import GPT, initialize
from optimizer import Optimizer

# bf16 can be had in two ways; which one is faster depends on the machine and on PyTorch.
#   copies    the model holds bf16 weights, the optimizer f32 ones, and copies them over after each step
#   autocast  f32 weights, cast where a product reads them
BF16_STYLES = ("copies", "autocast")


class Training:
    """`mode` is eager-f32, compiled-f32, eager-bf16 or compiled-bf16; `style` one of BF16_STYLES, for bf16."""

    def __init__(self, config, mode, style, tokens, weights=None):
        how, dtype = mode.split("-")
        compiled, bf16 = how == "compiled", dtype == "bf16"
        self.copies, self.autocast = bf16 and style == "copies", bf16 and style == "autocast"
        self.model = GPT(config)
        if weights is None:
            initialize(self.model)
        else:
            self.model.load_state_dict(weights)
        self.model.float()
        self.weights = dict(self.model.named_parameters())
        if self.copies:
            # Vectors of scalars stay f32.
            self.masters = {n: p.detach().clone() if p.dim() == 2 else p for n, p in self.weights.items()}
            for p in self.weights.values():
                p.data = p.data.bfloat16() if p.dim() == 2 else p.data
        else:
            self.masters = self.weights
        if bf16:
            for name, buffer in self.model.named_buffers():
                setattr(self.model, name, buffer.bfloat16())
        self.loss = torch.compile(self.model, fullgraph=True, dynamic=False) if compiled else self.model
        self.optimizer = Optimizer(self.masters, config.n_embd, tokens, torch.bfloat16 if bf16 else None, compiled)

    def gradients(self, ids, targets):
        """Forward and backward; gradients add up in the parameters' `grad`. Returns the loss."""
        context = torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()
        with context:
            loss = self.loss(ids, targets)
        loss.backward()
        return loss.item()

    def step(self, multiplier, mu, decay):
        """The optimizer step on the gradients, which are gone afterwards."""
        self.optimizer.step({n: p.grad for n, p in self.weights.items()}, multiplier, mu, decay)
        self.model.zero_grad(set_to_none=True)
        if self.copies:
            with torch.no_grad():
                kept = [n for n, p in self.weights.items() if p.dim() == 2]
                torch._foreach_copy_([self.weights[n] for n in kept], [self.masters[n] for n in kept])

    def timed(self, ids, targets, schedule):
        """(seconds of forward and backward, seconds of the optimizer step, loss)."""
        begin = time.perf_counter()
        loss = self.gradients(ids, targets)
        middle = time.perf_counter()
        self.step(*schedule)
        return middle - begin, time.perf_counter() - middle, loss
