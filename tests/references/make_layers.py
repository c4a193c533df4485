"""Writes layers.json: what PyTorch computes for convolutions, poolings, recurrent layers, attention and CTC.

    python -m tests.references.make_layers
"""

import json
from pathlib import Path

import numpy as np

from tinygraph import nn

IMAGE, SIGNAL, SEQUENCE = (1, 4, 6, 5), (2, 4, 7), (2, 5, 3)

# Of each entry: the layer, its arguments and options, and the shapes of what it is called with.
LAYERS = {
    "Conv2d": (nn.Conv2d, (4, 6, 3), {"stride": 2, "padding": 1, "dilation": (1, 2), "groups": 2}, [IMAGE]),
    "Conv2d same": (nn.Conv2d, (4, 2, (3, 2)), {"padding": "same"}, [IMAGE]),
    "Conv2d depthwise": (nn.Conv2d, (4, 4, 2), {"groups": 4, "bias": False}, [IMAGE]),
    "Conv1d": (nn.Conv1d, (4, 3, 3), {"stride": 2, "padding": 2}, [SIGNAL]),
    "ConvTranspose2d": (nn.ConvTranspose2d, (4, 6, (3, 2)), {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2),
                                                            "output_padding": (1, 0), "groups": 2}, [IMAGE]),
    "ConvTranspose1d": (nn.ConvTranspose1d, (4, 3, 4), {"stride": 2, "padding": 1}, [SIGNAL]),
    "MaxPool2d": (nn.MaxPool2d, (3,), {"stride": 2, "padding": 1}, [IMAGE]),
    "MaxPool1d": (nn.MaxPool1d, (2,), {}, [SIGNAL]),
    "AveragePool2d": (nn.AveragePool2d, ((3, 2),), {"stride": 2, "padding": (1, 0)}, [IMAGE]),
    "AveragePool1d": (nn.AveragePool1d, (3,), {"stride": 1}, [SIGNAL]),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d, ((4, 3),), {}, [IMAGE]),
    "AdaptiveAveragePool2d": (nn.AdaptiveAveragePool2d, ((4, 3),), {}, [IMAGE]),
    "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d, (3,), {}, [SIGNAL]),
    "AdaptiveAveragePool1d": (nn.AdaptiveAveragePool1d, (4,), {}, [SIGNAL]),
    "RNN": (nn.RNN, (3, 2), {"layers": 2, "bidirectional": True}, [SEQUENCE, (4, 2, 2)]),
    "LSTM": (nn.LSTM, (3, 2), {"layers": 2, "bidirectional": True}, [SEQUENCE, (4, 2, 2), (4, 2, 2)]),
    "GRU": (nn.GRU, (3, 2), {"layers": 2, "bidirectional": True}, [SEQUENCE, (4, 2, 2)]),
    "MultiHeadAttention": (nn.MultiHeadAttention, (4,), {"heads": 2, "causal": True}, [(2, 5, 4)]),
    "MultiHeadAttention masked": (nn.MultiHeadAttention, (4,), {"heads": 2}, [(2, 5, 4), (2, 3, 4)]),
}
MASK = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1], [1, 1, 0]], bool)  # (5, 3)
PRESENT = np.array([[1, 1, 0], [1, 1, 1]], bool)  # (2, 3)
CTC = {"targets": np.array([[1, 1, 2], [3, 1, 0], [2, 0, 0]]), "input_lengths": np.array([6, 4, 5]),
       "target_lengths": np.array([3, 2, 0])}


def made(name):
    """The layer, with parameters drawn anew so that none is 0, and what it is called with."""
    cls, arguments, options, shapes = LAYERS[name]
    rng = np.random.default_rng(0)
    layer = cls(*arguments, **options, **({"rng": 0} if "Pool" not in name else {}))
    for parameter in nn.parameters(layer).values():
        parameter.value = rng.normal(size=parameter.shape)
    return layer, [rng.normal(size=shape) for shape in shapes]


def logits():
    return np.random.default_rng(1).normal(size=(3, 6, 4))


def computed(name, torch):
    """What PyTorch's layer returns, all of it in a list, for tensors of the inputs; and these."""
    layer, inputs = made(name)
    _, arguments, options, _ = LAYERS[name]
    x, *states = (torch.tensor(each, requires_grad=True) for each in inputs)
    kind = name.split()[0]
    if kind in ("RNN", "LSTM", "GRU"):
        twin = getattr(torch.nn, kind)(*arguments, num_layers=2, bidirectional=True, batch_first=True).double()
        with torch.no_grad():
            for i, cells in enumerate(layer.cells):
                for cell, end in zip(cells, ("", "_reverse"), strict=True):
                    second = np.zeros(cell.b.shape)
                    if kind == "GRU":
                        second[4:] = cell.d.value
                    for part, values in (("weight_ih", cell.W.value.T), ("weight_hh", cell.U.value.T),
                                         ("bias_ih", cell.b.value), ("bias_hh", second)):
                        getattr(twin, f"{part}_l{i}{end}").copy_(torch.tensor(values))
        outputs, last = twin(x, tuple(states) if kind == "LSTM" else states[0])
        return [outputs, *(last if kind == "LSTM" else [last])], x
    if kind == "MultiHeadAttention":
        twin = torch.nn.MultiheadAttention(4, 2, batch_first=True).double()
        parts = [layer.query, layer.key, layer.value]
        with torch.no_grad():
            twin.in_proj_weight.copy_(torch.tensor(np.concatenate([part.W.value.T for part in parts])))
            twin.in_proj_bias.copy_(torch.tensor(np.concatenate([part.b.value for part in parts])))
            twin.out_proj.weight.copy_(torch.tensor(layer.output.W.value.T))
            twin.out_proj.bias.copy_(torch.tensor(layer.output.b.value))
        if states:
            hidden = {"attn_mask": torch.tensor(~MASK), "key_padding_mask": torch.tensor(~PRESENT)}
            return [twin(x, states[0], states[0], need_weights=False, **hidden)[0]], x
        return [twin(x, x, x, need_weights=False, attn_mask=torch.tensor(~np.tri(5, dtype=bool)))[0]], x
    twin = getattr(torch.nn, kind.replace("Average", "Avg"))(*arguments, **options)
    with torch.no_grad():
        for own, theirs in zip(nn.parameters(layer).values(), twin.parameters(), strict=True):
            theirs.data = torch.tensor(own.value)
    return [twin(x)], x


def main():
    import torch

    found = {}
    for name in [*LAYERS, "ctc"]:
        if name == "ctc":
            x = torch.tensor(logits(), requires_grad=True)
            log_p = torch.log_softmax(x, dim=2).transpose(0, 1)
            values = [torch.nn.functional.ctc_loss(log_p, *map(torch.tensor, CTC.values()), reduction="none")]
        else:
            values, x = computed(name, torch)
        total = sum((torch.cos(torch.arange(value.numel(), dtype=torch.float64)) * value.reshape(-1)).sum()
                    for value in values)
        gradient = torch.autograd.grad(total, x)[0]
        found[name] = [[value.detach().numpy().round(12).tolist() for value in values],
                       gradient.numpy().round(12).tolist()]
    text = json.dumps({"torch": torch.__version__, "found": found})
    Path(__file__).with_name("layers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
