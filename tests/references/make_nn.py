"""Writes nn.json: what PyTorch computes for layers and losses of `tinygraph.nn`. Run it where PyTorch is installed.

    python -m tests.references.make_nn
"""

import json
from pathlib import Path

import numpy as np


def inputs():
    """The arrays that both sides are given."""
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(5, 4)), "image": rng.normal(size=(3, 4, 2, 3)), "t": np.array([0, 2, 1, 3, 2]),
            "y": rng.normal(size=(5, 4)), "p": rng.uniform(size=(5, 4)), "class_weights": rng.uniform(0.5, 2, 4)}


def entries(given):
    import torch
    import torch.nn.functional as F

    x, image, t, y, p, w = (torch.tensor(given[name]) for name in ("x", "image", "t", "y", "p", "class_weights"))
    x.requires_grad_()
    image.requires_grad_()
    q = p / p.sum(dim=1, keepdim=True)
    norm = torch.nn.BatchNorm2d(4, dtype=torch.float64)
    yield "BatchNorm", norm(image), image
    yield "BatchNorm.mean", norm.running_mean, None
    yield "BatchNorm.variance", norm.running_var, None
    yield "GroupNorm", F.group_norm(image, 2), image
    yield "RMSNorm", F.rms_norm(x, (4,), eps=1e-6), x
    yield "cross_entropy", F.cross_entropy(x, t), x
    yield "cross_entropy weighted", F.cross_entropy(x, t, weight=w), x
    yield "cross_entropy smooth", F.cross_entropy(x, t, weight=w, label_smoothing=0.1), x
    yield "binary_cross_entropy", F.binary_cross_entropy_with_logits(x, p), x
    yield "huber", F.huber_loss(x, y, delta=0.7), x
    yield "mean_absolute_error", F.l1_loss(x, y), x
    yield "kl_divergence", F.kl_div(F.log_softmax(x, dim=1), q, reduction="batchmean"), x
    for name, f in [("LeakyReLU", F.leaky_relu), ("ELU", F.elu), ("GELU", F.gelu), ("SiLU", F.silu),
                    ("Softplus", F.softplus), ("Sigmoid", torch.sigmoid), ("Hardtanh", F.hardtanh)]:
        yield name, f(x), x


def main():
    import torch

    found = {}
    for name, value, by in entries(inputs()):
        found[name] = [value.detach().numpy().tolist()]
        if by is not None:
            weights = torch.cos(torch.arange(value.numel(), dtype=torch.float64)).reshape(value.shape)
            found[name].append(torch.autograd.grad((value * weights).sum(), by)[0].numpy().tolist())
    text = json.dumps({"torch": torch.__version__, "found": found})
    Path(__file__).with_name("nn.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
