"""States are found wherever they are held, and a model is copied with others in their place."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.states import states


class Holder:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def parameter(n=2):
    return tg.Parameter(np.ones(n))


Pair = namedtuple("Pair", ["left", "right"])


def test_paths_say_how_to_get_there():
    a, b, c, d = (parameter() for _ in range(4))
    thing = Holder(first=a, rest=[Holder(W=b), {"x": c}], pair=Pair(1, d), size=3, f=np.tanh, cls=Holder)
    assert states(thing) == {"first": a, "rest.0.W": b, "rest.1.x": c, "pair.1": d}
    assert states(a) == {"": a}
    assert states([]) == {}


def test_what_is_held_twice_is_listed_once_and_cycles_end():
    a = parameter()
    thing = Holder(a=a, again=a)
    thing.itself = thing
    assert states(thing) == {"a": a}


@dataclass(frozen=True, slots=True)
class Frozen:
    W: tg.Parameter
    size: int = 3


class Private:
    __slots__ = ("__secret", "never")

    def __init__(self):
        self.__secret = parameter()


class Derived(Private):
    """Slots of one class, a dict of the other."""

    def __init__(self):
        super().__init__()
        self.b = parameter()


def test_slots_are_looked_into():
    assert [*states([Frozen(parameter()), Private(), Derived()])] == [
        "0.W", "1._Private__secret", "2._Private__secret", "2.b"]
    copied = nn.inference(Derived())
    assert type(copied.b) is type(copied._Private__secret) is np.ndarray
    assert isinstance(nn.inference(Frozen(parameter())).W, np.ndarray)


def test_functions_and_what_wraps_one_are_not_looked_into():
    model = Holder(W=parameter())
    model.step = tg.compile(lambda x: x * model.W)
    model.step(np.ones(2))
    model.f = lambda: model.W
    assert [*states(model)] == ["W"]
    assert nn.inference(model).step is model.step


def test_inference_in_a_compiled_function_reads_the_states_of_each_call():
    model = Holder(a=parameter(), training=True)
    f = tg.compile(lambda x: x * nn.inference(model).a, target="numpy")
    np.testing.assert_array_equal(f(np.ones(2)), [1, 1])
    model.a.value = np.array([2.0, 3.0])
    np.testing.assert_array_equal(f(np.ones(2)), [2, 3])


def test_two_states_of_one_name_are_an_error():
    with pytest.raises(ValueError, match=r"two states are both called a\.b"):
        states({"a.b": parameter(), "a": {"b": parameter()}})


def make(dtype=np.float64):
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(3, 4, rng=rng, dtype=dtype), nn.ReLU(), nn.Linear(4, 2, rng=rng, dtype=dtype))


def test_inference_is_the_same_function_of_arrays_alone():
    model = make()
    x = np.random.default_rng(1).normal(size=(5, 3))
    y = model.inference()(x)
    assert isinstance(y, np.ndarray)
    np.testing.assert_array_equal(y, model(x).value)
    assert list(model.parameters()) == ["layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b"]


def test_inference_copies_what_trains_and_shares_the_rest():
    shared = parameter()
    other = Holder(size=3)
    model = Holder(a=shared, inner=Holder(a=shared, training=True), other=other, pair=Pair(other, shared))
    model.itself = model
    copied = nn.inference(model)
    assert copied.itself is copied
    assert copied is not model
    assert copied.other is copied.pair.left is other
    assert copied.a is copied.inner.a is copied.pair.right
    np.testing.assert_array_equal(copied.a, shared.value)
    assert [copied.inner.training, model.inner.training] == [False, True]


def test_astype_makes_new_states_of_that_dtype():
    model = make()
    narrow = model.astype(np.float32)
    assert {p.dtype for p in narrow.parameters().values()} == {np.dtype(np.float32)}
    assert {p.dtype for p in model.parameters().values()} == {np.dtype(np.float64)}
    assert narrow(np.ones((1, 3), np.float32)).dtype == np.float32
    narrow.layers[0].W.value = np.zeros((3, 4))
    assert model.layers[0].W.value.any()
