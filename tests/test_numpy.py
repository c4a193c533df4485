"""NumPy as a whole on nodes: nothing is forgotten, nothing is unwrapped quietly, no array of objects arises.

Each of NumPy's functions that asks its arguments for a counterpart has one, or is refused by name for a reason that is
written down here. Queries get plain answers. What NumPy would make an array of objects of is refused with a sentence.
"""

import importlib
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.node import TWINS, twin_of

# What is refused by name, and why.
REFUSED = {
    "busday_count": "dates", "busday_offset": "dates", "datetime_as_string": "dates", "is_busday": "dates",
    "copyto": "writes", "fill_diagonal": "writes", "place": "writes", "put": "writes", "put_along_axis": "writes",
    "putmask": "writes",
    "save": "files", "savetxt": "files", "savez": "files", "savez_compressed": "files",
    "sort_complex": "complex numbers have no order", "packbits": "bits", "unpackbits": "bits",
}
# What nobody has written yet.
NOT_YET: set[str] = set()


def functions() -> dict[str, Any]:
    """All functions of NumPy that dispatch on their arguments, by name."""
    return {f"{prefix}{name}": f for prefix, module in [("", np), ("linalg.", np.linalg), ("fft.", np.fft),
                                                 ("lib.stride_tricks.", np.lib.stride_tricks)]
            for name, f in vars(module).items() if hasattr(f, "_implementation")}


def test_nothing_of_numpy_is_forgotten():
    importlib.import_module("tinygraph.ops")
    twin_of(None)
    missing = {name for name, f in functions().items() if f not in TWINS}
    assert missing - REFUSED.keys() - NOT_YET == set()
    assert not NOT_YET - missing, "written by now: strike them off the list"


@pytest.fixture
def node():
    return tg.constant(np.array([1.0, 2.0, 3.0]))


@pytest.fixture
def scalar():
    return tg.constant(2.0)


# ------------------------------------------------------------------------------------------------------------ refusals

SPELLINGS = [
    "np.array([s, s])", "np.array([[s, 1.0], [2.0, s]])", "np.array((s, 1.0), float)", "np.asarray([n, n])",
    "np.array(n)", "np.asarray(s)", "np.asanyarray(n)", "np.ascontiguousarray(n)", "np.asfortranarray(n)",
    "np.require(n, float)", "np.array([s], dtype=object)", "np.array(s, dtype=object)", "np.atleast_1d([s, s])",
    "np.sum([s, s])", "np.mean([n, n], axis=0)", "np.exp([s, s])", "np.add([s, 1.0], 2.0)", "np.maximum([s], 0)",
    "np.linalg.norm([s, s])", "np.linalg.inv([[s, 0.0], [0.0, s]])", "np.dot([s, s], [1.0, 2.0])",
    "np.stack([[s, s], [1.0, 2.0]])", "np.concatenate([[s], [s]])", "np.full(3, s)", "np.full((2,), s, float)",
    "np.r_[s, s]", "np.r_[1.0, n]", "np.c_[n, n]", "np.ma.array(n)",
    "np.ma.array([s, s])", "np.poly1d([s, 1.0])", "np.reshape([s, s], 2)", "np.transpose([[s, s]])",
    "np.sort([s, s])", "np.max([s, s])", "np.min((s, s))", "np.prod([s, s])", "np.cumsum([s, s])", "np.var([s, s])",
    "np.einsum('i,i', [s, s], [1.0, 2.0])", "np.where([True, False], [s, s], 0.0)", "np.outer([s, s], [1.0, 2.0])",
    "np.broadcast_to([s], (3,))", "np.broadcast(n, n)", "np.vectorize(float)(n)",
    "np.array([1.0, 2.0]) + [s, s]", "np.array([1.0, 2.0]) @ [s, s]", "np.arange(3.0).dot(n)",
    "np.random.default_rng(0).normal(n)", "np.random.default_rng(0).choice(n)",
    "np.random.default_rng(0).permutation(n)",
    "np.ndenumerate(n).__next__()",
    "np.zeros(3).__setitem__(slice(None), n)", "np.arange(3.0)[n]", "np.linspace([s, s], 1.0)", "n + [s, s, s]",
    "np.insert(np.ones(3), 0, [s, s])", "np.append([s], 1.0)", "np.polyval([s, s], 2.0)", "np.bincount([s, s])",
    "np.interp([s], [0.0, 1.0], [0.0, 1.0])", "np.meshgrid([s, s], [1.0])", "np.cross([s, s, s], [1.0, 2.0, 3.0])",
    "np.select([[True]], [[s]])", "np.diff([s, s])", "np.pad([s], 1)", "np.tile([s], 2)", "np.kron([s], [1.0])",
    "np.add.reduce([s, s])", "np.add.outer([s], [1.0])", "np.add.accumulate([s])", "np.fft.fft([s, s])",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_array_of_objects(spelling, node, scalar):
    """A refusal in one sentence that says what to write."""
    with pytest.raises((TypeError, ValueError)) as caught:
        eval(spelling, {"np": np, "n": node, "s": scalar})
    error: Any = caught.value
    messages = []
    while error is not None:
        messages.append(str(error))
        error = error.__cause__ or error.__context__
    wanted = ("write node.value", "tg.array", "np.broadcast_to(value, shape)")
    assert any(word in message for message in messages for word in wanted), messages


@pytest.mark.parametrize(("write", "instead"), [
    (lambda a, n: np.copyto(a, n), r"np\.copyto writes into.*np\.where"),
    (lambda a, n: np.put(a, [0], n[:1]), r"np\.put writes into.*\.at\[indices\]"),
    (lambda a, n: np.put_along_axis(a, np.array([0]), n[:1], 0), r"np\.put_along_axis writes into.*x\.at\[index\]"),
    (lambda a, n: np.place(a, a == 0, n), r"np\.place writes into.*x\.at\[mask\]"),
    (lambda a, n: np.putmask(a, a == 0, n), r"np\.putmask writes into.*np\.where"),
    (lambda a, n: np.fill_diagonal(n, 0), r"np\.fill_diagonal writes into.*x\.at\[i, i\]"),
    (lambda a, n: np.save("nowhere", n), r"np\.save saves arrays: give it node\.value"),
    (lambda a, n: np.nonzero(a) and np.any(a, out=n), r"out="),
], ids=["copyto", "put", "put_along_axis", "place", "putmask", "fill_diagonal", "save", "out"])
def test_what_writes_is_refused(write, instead, node):
    array = np.zeros(3)
    with pytest.raises(TypeError, match=instead):
        write(array, node)
    assert not array.any()


# ------------------------------------------------------------------------------------------------------------- queries

QUERIES = [
    "len(n)", "np.ndim(n)", "np.size(n)", "np.size(n, 0)", "np.shape(n)", "np.isclose(n, 2.0)", "np.allclose(n, n)",
    "np.array_equal(n, n)", "np.array_equiv(n, [1.0, 2.0, 3.0])", "np.argmax(n)", "np.argmin(n, axis=0)",
    "np.searchsorted(n, 2.5)", "np.searchsorted([1.0, 2.0], n)", "np.iscomplexobj(n)", "np.isrealobj(n)",
    "np.may_share_memory(n, n)", "np.shares_memory(n, np.ones(2))", "np.can_cast(n, np.float32)",
    "np.result_type(n, np.float32)", "np.min_scalar_type(n)", "np.common_type(n)", "np.array2string(n)",
    "np.array_repr(n)", "np.array_str(n)", "2.0 in n", "9.0 in n", "np.any(n > 2)", "np.all(n > 2)",
    "np.nonzero(n > 1)",
    "np.flatnonzero(n > 1)", "np.argwhere(n > 1)", "np.isin(n, [1.0])", "np.where(n > 1)", "np.lexsort((n, n))",
    "np.digitize(n, [1.5, 2.5])", "np.einsum_path('i,i', n, n)", "np.tril_indices_from(n[:, None])",
    "np.triu_indices_from(n[:, None])", "np.diag_indices_from(n[:2] + n[:2, None])", "np.ix_(n > 1, n > 2)",
    "np.zeros_like(n)", "np.ones_like(n, shape=2)", "np.empty_like(n, int).dtype", "np.full_like(n, 7)",
    "np.broadcast_shapes(n.shape, (4, 1))", "[float(x) for x in n]", "float(n[0])", "int(n[1])", "bool(n[2])",
    "n.shape",
    "n.size", "n.ndim", "n.dtype", "np.unravel_index(np.argmax(n), (3, 1))",
    "np.ravel_multi_index((np.argmax(n),), (3,))", "np.histogram_bin_edges(n, 2)", "np.isscalar(n)",
]


@pytest.mark.parametrize("query", QUERIES)
def test_queries_get_plain_answers(query, node):
    answer = eval(query, {"np": np, "n": node})
    expected = eval(query, {"np": np, "n": node.value})
    assert type(answer) is type(expected) or np.ndim(answer) == 0
    for a, e in zip(*[x if isinstance(x, tuple) else (x,) for x in (answer, expected)], strict=True):
        assert not isinstance(a, tg.Node)
        if isinstance(e, np.ndarray) and "empty" not in query:
            np.testing.assert_array_equal(a, e, strict=True)
        else:
            assert np.all(a == e)
