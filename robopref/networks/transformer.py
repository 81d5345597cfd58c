"""Attention blocks, and the preference transformer: which steps a judge weighs.

Kim, Park, Shin, Lee, Abbeel, Lee: Preference Transformer: Modeling Human Preferences using
Transformers for RL, ICLR 2023, section 4.

Departures: a step is one token (state and action side by side), and positions enter as a penalty
on distance (Press, Smith, Lewis: Train Short, Test Long, ICLR 2022) instead of learned embeddings,
so that a reward learned from short segments can be read along a whole episode.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.networks.onednn import Linear


class AttentionBlock(nn.Module):
    """Self-attention, then a feed-forward layer, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.project_in = Linear(width, 3 * width)
        self.project_out = Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(Linear(width, 4 * width), nn.GELU(), Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, T, width) to the same.

        Args:
            x: (B, T, width).
            bias: (B, heads, T, T), added to the logits of attention; minus
                infinity where a step must not look.
        """
        parts = self.project_in(self.norm_attention(x)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.project_out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.feed(self.norm_feed(x))
        return out


class DistanceBias(nn.Module):
    """Positions as a penalty on distance, (heads, T, T) for any `T` (Press, Smith and Lewis)."""

    slopes: Tensor

    def __init__(self, heads: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        # Head h forgets over about 2^(8 (h + 1) / heads) steps, as in Press et al.
        slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, steps: int) -> Tensor:
        """Minus slope times distance; minus infinity for later steps where causal."""
        step = torch.arange(steps, device=self.slopes.device)
        distance = (step[:, None] - step).to(self.slopes.dtype)
        bias = -self.slopes[:, None, None] * distance.abs()
        return bias.masked_fill(distance < 0, -torch.inf) if self.causal else bias


class Transformer(nn.Module):
    """What the transformers here share: a token per step, blocks, and a linear head."""

    def __init__(
        self, inputs: int, width: int, layers: int, heads: int, outputs: int, causal: bool
    ) -> None:
        super().__init__()
        self.embed = Linear(inputs, width)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = Linear(width, outputs)
        self.bias = DistanceBias(heads, causal)

    def features(self, inputs: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, width), what the head reads."""
        x = self.embed(inputs)
        # Of as many dimensions as the batch, for which attention has a faster path.
        bias = self.bias(inputs.shape[1]).expand(len(inputs), -1, -1, -1)
        for block in self.blocks:
            x = block(x, bias)
        features: Tensor = self.norm(x)
        return features


class PreferenceTransformer(Transformer):
    """Outputs per step from the history up to it, and the weight of each step."""

    def __init__(self, inputs: int, width: int, layers: int, heads: int, outputs: int) -> None:
        super().__init__(inputs, width, layers, heads, outputs, causal=True)
        self.query = Linear(width, width)
        self.key = Linear(width, width)

    def forward(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Runs over whole segments; padding stands at the end and changes nothing.

        Args:
            inputs: (B, T, inputs).
            mask: (B, T), 1 on real steps.

        Returns:
            (B, T, outputs), each step from steps up to it alone; and the preference attention
            weights (B, T), which sum to 1 over real steps: the mean over queries of a
            softmax over keys (section 4.2), seen in both directions.
        """
        x = self.features(inputs)
        logits = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[-1])
        logits = logits.masked_fill(mask[:, None] == 0.0, -torch.inf)
        attention = logits.softmax(-1) * mask[..., None]
        weights = attention.sum(1) / mask.sum(1, keepdim=True)
        return self.head(x), weights
