"""The stepper: what is recorded is what the engine does, and the page says so. In a browser: see test_pages.py."""

import json
import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import classifier
from tinygraph.drawing.record import Record


def network():
    rng = np.random.default_rng(0)
    model = classifier.NNClassifier([3, 4, 2], rng=0)
    X, t = rng.normal(size=(3, 5)), rng.integers(0, 2, 5)
    return model, X, t


def data_of(steps):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', steps.html, re.DOTALL)[1])


# ---- the record


class Double(tg.Op):
    """y = 2 x, without a rule"""

    def forward(self, x):
        return x * 2.0


def shared():
    w, v = tg.Parameter(np.array([0.5, -1.0, 2.0])), tg.Parameter(np.array([1.0, 2.0, 3.0]))
    y = np.sin(w) * w + w[0] + w[1:2] + Double(v)
    return (y * y * np.where(v > 1.5, np.sqrt(v - 1.0), v)).sum(), (w, v)


def test_gradients_are_the_engines():
    loss, parameters = shared()
    record = Record(loss)
    assert all(p.grad is None for p in parameters)
    for p, expected in zip(parameters, tg.backprop(loss, wrt=parameters), strict=True):
        assert record.grads[p.current()].tobytes() == expected.tobytes()


def test_parts_add_up_in_their_order():
    record = Record(shared()[0])
    assert max(map(len, record.came.values())) > 3
    for node, parts in record.came.items():
        total = parts[0].array
        for part in parts[1:]:
            total = total + part.array
        np.testing.assert_array_equal(total, record.grads[node])
        assert [part.came for part in parts] == list(range(len(parts)))
        assert all(part.array.shape == node.shape for part in parts)


def test_each_part_is_what_the_rule_says():
    w = tg.Parameter(np.array([0.5, -1.0, 2.0]))
    record = Record((w * np.sin(w) * w).sum())
    for node in record.order:
        parts = node.pull(record.grads[node])
        parts = [part() if callable(part) else part for part in (parts if isinstance(parts, tuple) else (parts,))]
        for part in record.sent[node]:
            (k,) = [k for k, x in enumerate(node.inputs) if x is part.target]
            np.testing.assert_array_equal(np.broadcast_to(parts[k], part.target.shape), part.array)


def test_ops_that_add_in_place_send_parts_too():
    x = tg.Parameter(np.arange(4.0))
    record = Record((x[1] * 3.0 + x[:2].sum() + x[1]).reshape(()))
    parts = [part.array.tolist() for part in record.came[x.current()]]
    assert sorted(parts) == [[0, 1, 0, 0], [0, 3, 0, 0], [1, 1, 0, 0]]
    assert record.grads[x.current()].tolist() == [1, 5, 0, 0]


def test_order_is_that_of_the_sweep():
    record = Record(shared()[0])
    numbers = [node.serial for node in record.order]
    assert numbers == sorted(numbers, reverse=True)
    assert set(record.order) == {node for node in record.tape if node.inputs and node.needs_grad}


def test_what_is_used_twice_by_one_op():
    w = tg.Parameter(np.array([3.0]))
    loss = (w * w).reshape(())
    parts = Record(loss).came[w.current()]
    assert [(part.array.tolist(), part.sent, part.came) for part in parts] == [([3.0], 0, 0), ([3.0], 1, 1)]


def test_a_parameter_alone():
    w = tg.Parameter(np.array(3.0))
    assert Record(w).grads[w.current()] == 1


# ---- the steps


def test_steps_go_forward_and_back():
    model, X, t = network()
    steps = data_of(tg.step_through(model.loss_node(X, t), names={"X": X, "t": t}))["steps"]
    ops = ["MatMul %4", "Z1: AddBias", "A1: ReLU", "MatMul %7", "Z2: AddBias", "L: LogSoftmaxNLL"]
    assert [step["title"] for step in steps] == ["What is given", *ops, *reversed(ops), "The gradients"]
    assert [step["phase"] for step in steps] == ["start", *["forward"] * 6, *["backward"] * 6, "end"]
    (silent,) = [part["note"] for part in steps[7]["sections"] if part.get("note")]
    assert silent == "No gradient is wanted by t."


def test_gradients_that_are_alive():
    model, X, t = network()
    steps = data_of(tg.step_through(model.loss_node(X, t)))["steps"]
    alive = [[name for _, name in step["alive"]] for step in steps if "alive" in step]
    assert alive == [["Z2"], ["MatMul %7", "b2"], ["b2", "W2", "A1"], ["b2", "W2", "Z1"],
                     ["b2", "W2", "MatMul %4", "b1"], ["b2", "W2", "b1", "W1"], ["W1", "b1", "W2", "b2"]]


def test_sums_are_shown_with_their_terms():
    w = tg.Parameter(np.array([1.0, 2.0]), name="w")
    steps = data_of(tg.step_through((np.sin(w) * w).sum()))["steps"]
    (end,) = steps[-1]["sections"]
    assert [item["sign"] for item in end["items"]] == ["", "+", "="]
    assert [item["label"] for item in end["items"]][-1] == "∂L/∂w"
    notes = [item["note"] for step in steps for part in step["sections"] for item in part["items"] if item["note"]]
    assert "first of 2 that are added up" in notes
    assert "second of 2 that are added up" in notes


def test_equations_and_sources():
    model, X, t = network()
    steps = tg.step_through(model.loss_node(X, t))
    data = data_of(steps)
    rules = data["rules"]
    assert rules["ReLU"]["formula"] == "y = max(0, x);   dx = dy where x > 0, and 0 elsewhere, at 0 too"
    assert rules["ReLU"]["backward"].startswith("def backward(self, grad")
    relu = next(step for step in data["steps"] if step["title"] == "A1: ReLU" and step["phase"] == "backward")
    (key,) = relu["equations"]
    assert f'<template id="{key}"><div class="equation"><math' in steps.html


def test_an_op_that_only_runs_on_arrays_has_no_equations():
    class Lost(tg.Op):
        def forward(self, x):
            return np.asarray(x, float).copy()

        def backward(self, grad, y, x):
            return np.array([float(g) for g in grad])

    w = tg.Parameter(np.ones(2), name="w")
    data = data_of(tg.step_through(Lost(w).sum()))
    assert not any(step.get("equations") for step in data["steps"])
    assert "float(g) for g in grad" in next(rule["backward"] for name, rule in data["rules"].items() if "Lost" in name)


def test_the_page_is_one_file_and_escapes_names(tmp_path):
    w = tg.Parameter(np.ones(2), name='</script><script>alert("w")</script>')
    steps = tg.step_through((w * w).sum())
    steps.save(tmp_path / "step.html")
    text = (tmp_path / "step.html").read_text(encoding="utf-8")
    assert text == steps.html
    assert "<script>alert" not in text
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json" id="data">', "<script>"]
    assert not re.search(r"(?:src|href)=[\"']?(?!data:)", text)
    assert "eval(" not in text
    assert "innerHTML" not in text
    assert 'w\\"' in text  # the name itself is there, as text
    assert "<script" not in steps._repr_html_()
    with pytest.raises(ValueError, match=r"a page is saved as \.html, not as 'step\.pdf'"):
        steps.save("step.pdf")


@pytest.mark.parametrize(("make", "message"), [
    (lambda w: w * 2, r"gradients start from one number, but this is Multiply \(3,\) float64: reduce it"),
    (lambda w: np.sum(tg.constant(np.ones(2))), r"Sum \(\) float64 depends on no Parameter, so there are no gradients"),
])
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        tg.step_through(make(tg.Parameter(np.ones(3))))


def test_too_many_nodes():
    y = tg.Parameter(np.array(0.5))
    for _ in range(1001):
        y = np.sin(y)
    with pytest.raises(ValueError, match="1,002 nodes, and nobody steps through more than 1,000"):
        tg.step_through(y)
