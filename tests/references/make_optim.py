"""Writes optim.json: where PyTorch's optimizers take two parameters in 50 steps, and its schedules. As make_nn.py.

    python -m tests.references.make_optim
"""

import json
from pathlib import Path

import numpy as np

# Of each: the class here, its options, and PyTorch's.
OPTIMIZERS = {
    "SGD": ("SGD", {"lr": 0.05}, {"lr": 0.05}),
    "SGD, momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}, {"lr": 0.05, "momentum": 0.9}),
    "SGD, Nesterov, l2": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "l2": 0.1},
                          {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "RMSProp": ("RMSProp", {"lr": 0.01}, {"lr": 0.01}),
    "RMSProp, momentum, l2": ("RMSProp", {"decay": 0.9, "momentum": 0.5, "eps": 1e-3, "l2": 0.1},
                              {"alpha": 0.9, "momentum": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    "Adagrad": ("Adagrad", {"lr": 0.1}, {"lr": 0.1}),
    "Adagrad, l2": ("Adagrad", {"lr": 0.1, "eps": 1e-3, "l2": 0.1}, {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
    "Adam": ("Adam", {"lr": 0.05}, {"lr": 0.05}),
    "Adam, l2": ("Adam", {"lr": 0.05, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "l2": 0.1},
                 {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    "AdamW": ("AdamW", {"lr": 0.05, "weight_decay": 0.2}, {"lr": 0.05, "weight_decay": 0.2}),
    "Adamax": ("Adamax", {"lr": 0.05}, {"lr": 0.05}),
    "Adamax, l2": ("Adamax", {"lr": 0.05, "beta1": 0.8, "beta2": 0.9, "l2": 0.1},
                   {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    "NAdam": ("NAdam", {"lr": 0.05}, {"lr": 0.05}),
    "NAdam, pace, decay": ("NAdam", {"lr": 0.05, "beta1": 0.8, "pace": 0.02, "weight_decay": 0.1},
                           {"lr": 0.05, "betas": (0.8, 0.999), "momentum_decay": 0.02, "weight_decay": 0.1,
                            "decoupled_weight_decay": True}),
}
SHAPES = (3, 2), (2,)
AT = 1, 10, 50


def start():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in SHAPES]


def main():
    import torch
    from torch.optim import lr_scheduler

    torch.set_default_dtype(torch.float64)  # or NAdam keeps a product in float32
    found = {}
    for name, (cls, _, options) in OPTIMIZERS.items():
        ps = [torch.tensor(p, requires_grad=True) for p in start()]
        optimizer = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(cls, cls))(ps, **options)
        found[name] = []
        for step in range(1, 51):
            optimizer.zero_grad()
            sum((torch.cos(p * 1.3 + 0.1) + 0.1 * p ** 2).sum() for p in ps).backward()
            optimizer.step()
            if step in AT:
                found[name].append([p.detach().numpy().tolist() for p in ps])

    def rates(make, steps=40):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        scheduler = make(optimizer)
        result = []
        for _ in range(steps):
            result.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return result

    schedules = {
        "step_decay": rates(lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
        "multi_step": rates(lambda o: lr_scheduler.MultiStepLR(o, [5, 11, 30], 0.3)),
        "exponential": rates(lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        "cosine": rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 40, 0.01)),
        "cosine_restarts": rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 9, 1, 0.01)),
        "cosine_restarts, growing": rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
        "one_cycle": rates(lambda o: lr_scheduler.OneCycleLR(o, 0.5, 40)),
        "warm_up": rates(lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 8)),
    }
    metrics = [1.0, 0.8, 0.9, 0.81, 0.85, 0.7, 0.71, 0.72, 0.70001, 0.69999, 0.75, 0.76, 0.77, 0.78, 0.5, 0.6]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2, min_lr=0.02)
    reduced = []
    for metric in metrics:
        plateau.step(metric)
        reduced.append(optimizer.param_groups[0]["lr"])
    text = json.dumps({"torch": torch.__version__, "optimizers": found, "schedules": schedules,
                       "plateau": [metrics, reduced]})
    Path(__file__).with_name("optim.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
