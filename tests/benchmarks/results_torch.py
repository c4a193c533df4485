"""The networks of `results` in PyTorch, as people write them there, with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tinygraph import nn as ours


def alike(model: Any) -> nn.Module:
    """The module of PyTorch for a network of tinygraph, with its weights."""
    network = nn.Sequential(*map(layer, model)) if isinstance(model, ours.Sequential) else Transformer(model)
    values = [p.value for p in ours.parameters(model).values()]
    places = [(module, p) for module in network.modules() for p in module.parameters(recurse=False)]
    for (module, p), value in zip(places, values, strict=True):
        value = torch.tensor(value.T if isinstance(module, nn.Linear) else value).contiguous()
        if value.shape != p.shape:
            raise ValueError(f"{module} takes {tuple(p.shape)}, not {tuple(value.shape)}")
        p.data = value
    return network


def layer(same: Any) -> nn.Module:
    if isinstance(same, ours.Linear):
        return nn.Linear(*same.W.shape)
    if isinstance(same, ours.Conv2d):
        return nn.Conv2d(same.W.shape[1], same.W.shape[0], same.W.shape[2], padding=1)
    return {ours.ReLU: nn.ReLU(), ours.Tanh: nn.Tanh(), ours.MaxPool2d: nn.MaxPool2d(2),
            ours.Flatten: nn.Flatten()}[type(same)]


class Transformer(nn.Module):
    def __init__(self, same: Any) -> None:
        super().__init__()
        count, width = same.characters.W.shape
        self.characters = nn.Embedding(count, width)
        self.places = nn.Embedding(*same.places.W.shape)
        self.blocks = nn.Sequential(*[Block(width, part.attention.heads) for part in same.blocks[:-1]],
                                    nn.LayerNorm(width))
        self.out = nn.Linear(width, count)

    def forward(self, ids: Tensor) -> Any:
        return self.out(self.blocks(self.characters(ids) + self.places(torch.arange(ids.shape[1]))))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                                  nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Any:
        y = self.norm(x)
        Q, K, V = (part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for part in (self.query, self.key, self.value))
        found = nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=True)
        x = x + self.output(found.transpose(1, 2).flatten(2))
        return x + self.feed(x)
