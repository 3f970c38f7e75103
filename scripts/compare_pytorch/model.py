"""Kiln's GPT in plain PyTorch: the `classic` and the `modern` preset.

One-letter sizes: B rows, T positions, C width, H query heads, K key/value heads, D = C/H, V vocabulary padded up to a
multiple of 64. Modules are named as Kiln names parameters, so that a state dict of either fits the other.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1.1920929e-7
SHORT_GATE, SMEAR_GATE = 12, 24  # channels that the gates of value embeddings and of smear read
SWITCHES = {"indexer": "dsa"}  # options whose names begin otherwise than the switch that turns them on


@dataclass(frozen=True)
class Config:
    """The fields of Kiln's saved model configuration that this model knows."""

    n_layer: int
    n_embd: int
    n_head: int
    n_kv_head: int
    sequence_len: int
    vocab_size: int
    window_pattern: str
    preset: str
    softcap: float
    rope_base: float
    qk_scale: float
    value_embeds: bool
    smear: bool
    backout: bool
    short_window: int = 0  # 0: what the preset says

    @classmethod
    def from_json(cls, values):
        """Refuses options that this model lacks: comparing two different models would say nothing."""
        known = {f.name for f in fields(cls)}
        for name, value in values.items():
            switch = SWITCHES.get(name.split("_")[0], name.split("_")[0])
            if name in known or name == "dtype" or not value or not values.get(switch, True):
                continue
            raise SystemExit(f"the PyTorch model has no option {name} (it is {value!r} in the configuration)")
        return cls(**{name: value for name, value in values.items() if name in known})

    @property
    def head_dim(self):
        return self.n_embd // self.n_head

    @property
    def padded_vocab(self):
        return -(-self.vocab_size // 64) * 64

    def window(self, layer):
        """How far back a position of this layer sees. The last layer sees the whole row."""
        T = self.sequence_len
        if layer == self.n_layer - 1 or self.window_pattern[layer % len(self.window_pattern)] == "L":
            return T
        return self.short_window or (-(-T // 512) * 128 if self.preset == "modern" else T // 2)

    def has_value_embeds(self, layer):
        return self.value_embeds and layer % 2 == (self.n_layer - 1) % 2


def norm(x):
    """x / sqrt(mean(x^2) + eps) over the last axis, no learned scale."""
    return F.rms_norm(x, (x.shape[-1],), eps=EPS)


def matrix(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class Attention(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        self.c, self.window = c, c.window(layer)
        self.c_q = matrix(c.n_embd, c.n_head * c.head_dim)
        self.c_k = matrix(c.n_embd, c.n_kv_head * c.head_dim)
        self.c_v = matrix(c.n_embd, c.n_kv_head * c.head_dim)
        self.c_proj = matrix(c.n_embd, c.n_embd)
        if c.has_value_embeds(layer):
            self.ve_gate = matrix(SHORT_GATE, c.n_kv_head)

    def rope(self, x, cos, sin):
        """y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos over the halves of x [B, T, H, D]."""
        x1, x2 = x.chunk(2, dim=-1)
        return torch.cat([x1 * cos + x2 * sin, x2 * cos - x1 * sin], dim=-1)

    def forward(self, x, ve, cos, sin):
        c, (B, T, _) = self.c, x.shape
        q = self.c_q(x).view(B, T, c.n_head, c.head_dim)
        k = self.c_k(x).view(B, T, c.n_kv_head, c.head_dim)
        v = self.c_v(x).view(B, T, c.n_kv_head, c.head_dim)
        if ve is not None:
            gate = 3 * torch.sigmoid(self.ve_gate(x[..., :SHORT_GATE]))
            v = v + gate.unsqueeze(-1) * ve.view_as(v).to(v.dtype)
        q, k = norm(self.rope(q, cos, sin)), norm(self.rope(k, cos, sin))
        groups = c.n_head // c.n_kv_head
        if groups > 1:
            k, v = (y.repeat_interleave(groups, dim=2) for y in (k, v))
        # qk_scale belongs to q and to k; in the scores it costs nothing.
        scale = c.qk_scale**2 / math.sqrt(c.head_dim)
        mask = None
        if self.window < T - 1:
            i = torch.arange(T, device=x.device)
            distance = i[:, None] - i
            mask = (distance >= 0) & (distance <= self.window)
        q, k, v = (y.to(v.dtype).transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, c.n_embd))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = matrix(c.n_embd, 4 * c.n_embd)
        self.c_proj = matrix(4 * c.n_embd, c.n_embd)

    def forward(self, x):
        return self.c_proj(F.relu(self.c_fc(x)).square())


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        self.attn, self.mlp = Attention(c, layer), MLP(c)

    def forward(self, x, ve, cos, sin):
        x = x + self.attn(norm(x), ve, cos, sin)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """ids, targets [B, T] -> the mean cross-entropy over targets that are not -1, in f32."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(c.padded_vocab, c.n_embd),
            "h": nn.ModuleList(Block(c, i) for i in range(c.n_layer)),
        })
        self.lm_head = matrix(c.n_embd, c.padded_vocab)
        self.resid_lambdas = nn.Parameter(torch.ones(c.n_layer))
        self.x0_lambdas = nn.Parameter(torch.zeros(c.n_layer))
        self.value_embeds = nn.ModuleDict({
            str(i): nn.Embedding(c.padded_vocab, c.n_kv_head * c.head_dim)
            for i in range(c.n_layer) if c.has_value_embeds(i)
        })
        if c.smear:
            self.smear_gate = matrix(SMEAR_GATE, 1)
            self.smear_lambda = nn.Parameter(torch.zeros(1))
        if c.backout:
            self.backout_lambda = nn.Parameter(torch.full((1,), 0.2))
        t = torch.arange(c.sequence_len, dtype=torch.float64)
        j = torch.arange(c.head_dim // 2, dtype=torch.float64)
        angle = t[:, None] / c.rope_base ** (2 * j / c.head_dim)  # T, D/2
        for name, table in (("cos", angle.cos()), ("sin", angle.sin())):
            self.register_buffer(name, table[:, None, :], persistent=False)

    def smear(self, x):
        gate = self.smear_lambda.to(x.dtype) * torch.sigmoid(self.smear_gate(x[:, 1:, :SMEAR_GATE]))
        return torch.cat([x[:, :1], x[:, 1:] + gate * x[:, :-1]], dim=1)

    def forward(self, ids, targets):
        c, T = self.c, ids.shape[1]
        x = norm(self.transformer.wte(ids))
        if c.smear:
            x = self.smear(x)
        x0, kept = x, None
        cos, sin = self.cos[:T], self.sin[:T]
        for i, block in enumerate(self.transformer.h):
            x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * x0
            ve = self.value_embeds[str(i)](ids) if c.has_value_embeds(i) else None
            x = block(x, ve, cos, sin)
            if i == c.n_layer // 2:
                kept = x
        if c.backout:
            x = x - self.backout_lambda.to(x.dtype) * kept
        logits = F.linear(norm(x), self.lm_head.weight[: c.vocab_size])
        logits = c.softcap * torch.tanh(logits.to(self.loss_dtype()) / c.softcap)
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
        return total / (targets != -1).sum().clamp_min(1)

    def loss_dtype(self):
        """f32; f64 when the whole model is."""
        return torch.promote_types(torch.float32, self.resid_lambdas.dtype)


@torch.no_grad()
def initialize(model, seed=0):
    """The recipe of the preset, from PyTorch's own random numbers."""
    c, modern = model.c, model.c.preset == "modern"
    generator = torch.Generator().manual_seed(seed)
    s = math.sqrt(3 / c.n_embd)
    for name, p in model.named_parameters():
        if name == "transformer.wte.weight":
            p.normal_(0, 0.8 if modern else 1.0, generator=generator)
        elif name == "lm_head.weight":
            p.normal_(0, 0.001, generator=generator)
        elif name.endswith("c_proj.weight"):
            p.zero_()
        elif name.endswith("gate.weight"):
            p.uniform_(0, 0.02, generator=generator)
        elif p.dim() == 2:
            bound = 0.4 * s if modern and name.endswith("c_fc.weight") else s
            p.uniform_(-bound, bound, generator=generator)
    if modern:
        layer = torch.linspace(0, 1, c.n_layer)
        model.resid_lambdas.copy_(1.15 - 0.10 * layer)
        model.x0_lambdas.copy_(0.20 - 0.15 * layer)
