"""The networks that the command line trains: fully connected layers, with convolutions before them for images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import nn
from ..by_name import ACTIVATIONS, multilayer

if TYPE_CHECKING:
    from .models import Description

__all__ = ["build"]


def build(model: Description, rng: np.random.Generator | int) -> nn.Sequential:
    """The network that the description says, with new weights. ValueError if it makes no sense.

    A hidden layer is a linear one or a convolution of 3 by 3, padded; then batch normalisation if it is wanted, and the
    activation; then max pooling of 2 by 2 after a convolution, or dropout, if it is wanted, after a linear layer.
    """
    if model.network not in ("mlp", "conv") or model.activation not in ACTIVATIONS:
        raise ValueError(f"there is no network {model.network!r} with the activation {model.activation!r}")
    rng = np.random.default_rng(rng)
    activation = ACTIVATIONS[model.activation]
    layers: list[Any] = []
    n_inputs = math.prod(model.input_shape)
    if model.network == "conv":
        if len(model.input_shape) != 3 or not model.channels:
            raise ValueError("a convolutional network takes images, and at least one number of channels, but the "
                             f"samples are of shape {tuple(model.input_shape)}")
        n_channels, height, width = model.input_shape
        for channels in model.channels:
            height, width = height // 2, width // 2
            if not height or not width:
                raise ValueError(f"{len(model.channels)} poolings of 2 by 2 leave nothing of images of "
                                 f"{model.input_shape[1]} by {model.input_shape[2]} pixels: take fewer channels")
            layers.append(nn.Conv2d(n_channels, channels, 3, padding=1, rng=rng, dtype=model.dtype))
            layers += [nn.BatchNorm(channels, dtype=model.dtype)] * model.batch_norm
            layers += [activation(), nn.MaxPool2d(2)]
            n_channels = channels
        n_inputs = n_channels * height * width
    if len(model.input_shape) > 1:
        layers.append(nn.Flatten())
    layers += multilayer(n_inputs, model.hidden, model.n_outputs, activation=activation, dropout=model.dropout,
                         batch_norm=model.batch_norm, rng=rng, dtype=model.dtype)
    return nn.Sequential(*layers)
