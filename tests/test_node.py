"""Nodes as NumPy users meet them: operators, attributes and conversions do what they do on arrays, and what a node
cannot do is refused with a sentence that says what to write instead. States and parameters: what they copy, what they
check, and what an assignment leaves alone.
"""

import copy
import math
import operator
import pickle

import numpy as np
import pytest

import tinygraph as tg

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
LOGIC = [operator.and_, operator.or_]
INSTEAD = r"write node\.value for its array"  # of the sentence by which a node refuses to become an array

float_types = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


@pytest.fixture
def node():
    return tg.constant(np.array([1.0, 2.0, 3.0]))


@pytest.fixture
def scalar():
    return tg.constant(2.0)


def same(node, expected):
    """Assert that this is a node of just that value, shape and dtype."""
    assert isinstance(node, tg.Node)
    np.testing.assert_array_equal(node.value, np.asarray(expected), strict=True)


# ----------------------------------------------------------------------------------------------------------- operators

@float_types
@pytest.mark.parametrize("op", ARITHMETIC + COMPARISONS, ids=lambda op: op.__name__)
def test_operators_take_anything_on_either_side_as_arrays_do(op, dtype):
    x = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    others = [
        x[::-1] / dtype(2), x[0], x[:, :1], np.array(2.0), np.array([1, 2, 3]),  # arrays of several shapes and types
        dtype(1.5), np.float64(1.5), np.int64(2), np.True_,  # NumPy's scalars
        1.5, 2, True, [1.0, 2.0, 3.0],  # Python's numbers
    ]
    for other in others:
        same(op(tg.constant(x), other), op(x, other))
        same(op(other, tg.constant(x)), op(other, x))
        same(op(tg.constant(x), tg.constant(other)), op(x, np.asarray(other)))


@pytest.mark.parametrize("other", [np.arange(12.0).reshape(2, 3, 2), np.arange(6.0).reshape(3, 2), np.arange(3.0)],
                         ids=["stack", "matrix", "vector"])
def test_matrix_products_take_arrays_on_either_side(other):
    x = np.arange(6.0).reshape(2, 3)
    same(tg.constant(x) @ other, x @ other)
    same(x @ tg.constant(other), x @ other)
    same(tg.constant(x) @ tg.constant(other), x @ other)
    if other.ndim < 3:
        same(tg.constant(x).dot(other), x.dot(other))


@pytest.mark.parametrize("op", LOGIC, ids=lambda op: op.__name__)
def test_logic_of_masks_takes_arrays_on_either_side(op):
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    same(op(tg.constant(a), tg.constant(b)), op(a, b))
    same(op(tg.constant(a), b), op(a, b))
    same(op(a, tg.constant(b)), op(a, b))
    same(op(tg.constant(a), True), op(a, True))
    same(op(False, tg.constant(a)), op(False, a))
    same(~tg.constant(a), ~a)


@pytest.mark.parametrize("op", [lambda x: x & 3, lambda x: x | 3, lambda x: 3 & x, lambda x: ~x],
                         ids=["and", "or", "reflected and", "not"])
def test_logic_on_integers_is_bitwise_or_refused(op):
    x = np.array([6, 1])
    try:
        result = op(tg.constant(x))
    except (TypeError, NotImplementedError):
        return
    same(result, op(x))


def test_unary_operators(node):
    x = node.value
    same(-node, -x)
    same(+node, x)
    same(abs(tg.constant(-x)), x)
    same(node + -node, 0 * x)


def test_augmented_assignment_makes_a_new_node(node):
    before, grown = node, node
    grown += 1
    same(grown, [2.0, 3.0, 4.0])
    same(before, [1.0, 2.0, 3.0])


@float_types
def test_python_numbers_are_weak_and_gradients_keep_the_type(dtype):
    p = tg.Parameter(np.array([1, 2], dtype))
    y = ((2.0 * p + 1) ** 2 / 3 - 0.5 + np.exp(-p) * True).sum()
    assert y.dtype == dtype
    y.backprop()
    assert p.grad.dtype == dtype
    np.testing.assert_allclose(p.grad, 4 * (2 * p.value + 1) / 3 - np.exp(-p.value), rtol=1e-2)


def test_numpy_scalars_are_not_weak():
    p = tg.Parameter(np.ones(2, np.float32))
    y = (p * np.float64(2)).sum()
    assert y.dtype == np.float64
    y.backprop()
    assert p.grad.dtype == np.float32


def test_comparison_is_elementwise_and_without_gradient(node):
    p = tg.Parameter(np.array([1.0, 5.0, 3.0]))
    equal = p == node
    same(equal, [True, False, True])
    assert equal.needs_grad is False
    with pytest.raises(TypeError, match=r"Equal \(3,\) bool has no gradient"):
        tg.backprop(equal, wrt=p, grad=np.ones(3))


def test_nodes_are_told_apart_by_identity():
    a, b, p, q = tg.constant(1.0), tg.constant(1.0), tg.Parameter(1.0), tg.Parameter(1.0)
    members = {a, b, p, q}
    assert len(members) == 4
    assert all(node in members for node in (a, b, p, q))
    assert tg.constant(1.0) not in members
    names = {node: name for name, node in {"a": a, "b": b, "p": p, "q": q}.items()}
    assert [names[node] for node in (a, b, p, q)] == ["a", "b", "p", "q"]


# ------------------------------------------------------------------------------------- attributes, methods, conversions

METHODS = {
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "transpose": lambda x: x.transpose(),
    "transpose of axes": lambda x: x.transpose(1, -1, 0),
    "transpose of a tuple": lambda x: x.transpose((2, 0, 1)),
    "swapaxes": lambda x: x.swapaxes(0, -1),
    "reshape": lambda x: x.reshape(3, -1),
    "reshape to a tuple": lambda x: x.reshape((2, 12)),
    "reshape to one axis": lambda x: x.reshape(-1),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "squeeze": lambda x: x[:, :1].squeeze(),
    "squeeze of an axis": lambda x: x[:1, :1].squeeze(1),
    "sum": lambda x: x.sum(),
    "sum over an axis": lambda x: x.sum(1),
    "sum over axes": lambda x: x.sum(axis=(0, -1), keepdims=True),
    "mean": lambda x: x.mean(),
    "mean over axes": lambda x: x.mean((0, 1)),
    "max": lambda x: x.max(),
    "max over an axis": lambda x: x.max(axis=-1, keepdims=True),
    "min": lambda x: x.min(0),
    "astype": lambda x: x.astype(np.float32),
    "astype of a name": lambda x: x.astype("f2"),
    "astype to integers": lambda x: x.astype(int),
    "an integer": lambda x: x[1],
    "slices": lambda x: x[:, 2:0:-1, ::2],
    "ellipsis": lambda x: x[..., 0],
    "new axis": lambda x: x[:, None],
    "array": lambda x: x[[0, 1, 1], 2],
    "0-d array": lambda x: x[np.array(1)],
    "empty list": lambda x: x[[]],
    "mask": lambda x: x[x > 5],
    "empty mask": lambda x: x[:0][np.zeros((0, 3, 4), bool)],
    "iteration": lambda x: np.stack(list(x), axis=1),
    "unpacking": lambda x: (lambda a, b: a * b)(*x),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods_and_indexing_are_those_of_arrays(method):
    x = np.arange(24.0).reshape(2, 3, 4)
    same(method(tg.constant(x)), method(x))


def test_attributes_are_those_of_arrays():
    x = np.zeros((2, 3), np.float32)
    for node in (tg.constant(x), tg.Parameter(x), tg.State(x), tg.constant(x) * 2):
        assert (node.shape, node.ndim, node.size, node.dtype, len(node)) == ((2, 3), 2, 6, np.float32, 2)
        assert (np.shape(node), np.ndim(node), np.size(node)) == ((2, 3), 2, 6)


def test_positions_are_plain_answers():
    x = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 6.0]])
    node = tg.constant(x)
    assert (node.argmax(), node.argmin()) == (5, 4)
    for answer, expected in [(node.argmax(0), [1, 0, 1]), (np.argmax(node, axis=1), [1, 2]), (node.argmin(1), [0, 1])]:
        assert type(answer) is np.ndarray
        np.testing.assert_array_equal(answer, expected)


def test_a_node_of_one_element_reads_as_a_number():
    for node in (tg.constant(2.5), tg.constant([2.5]), tg.Parameter([[2.5]]), tg.constant(5.0) / 2):
        assert float(node) == node.item() == 2.5
        assert type(float(node)) is type(node.item()) is float
        assert int(node) == 2
        assert complex(node) == 2.5 + 0j
        assert f"{node:.2f}" == "2.50"
        assert math.sqrt(node) == math.sqrt(2.5)
        assert bool(node) is True
        assert bool(node - 2.5) is False
    assert type(tg.constant(3).item()) is int
    assert ("yes" if tg.constant(1.0) < 2 else "no") == "yes"
    assert max(tg.constant(1.0), tg.constant(2.0)).item() == 2


def test_a_node_of_several_elements_does_not_read_as_a_number(node):
    with pytest.raises(ValueError, match="ambiguous"):
        bool(node)
    for read in (float, int, complex, "{:.2f}".format, lambda x: x.item()):
        with pytest.raises(ValueError, match="size 1"):
            read(node)


def test_a_node_without_axes_has_no_length(scalar):
    for use in (len, list):
        with pytest.raises(TypeError, match=r"len\(\) of constant \(\) float64, which has no axis"):
            use(scalar)


def test_without_a_format_a_node_prints_as_itself(node):
    assert f"{node}" == str(node) == repr(node)


def test_values_are_read_only():
    for node in (tg.constant(np.ones(2)), tg.Parameter(np.ones(2)), tg.State(np.ones(2)), tg.constant(np.ones(2)) + 1):
        assert type(node.value) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            node.value[0] = 5
        same(node * 1, node.value)
    assert type((tg.constant(1.0) * 2).value) is np.ndarray  # NumPy's ufuncs return scalars here


# ------------------------------------------------------------------------------------------------------------ refusals

@pytest.mark.parametrize("convert", [
    np.asarray, np.array, lambda node: np.asarray(node, dtype=np.float32), lambda node: np.array([node, node]),
    lambda node: np.array([node, node], dtype=object), lambda node: np.array([[1.0], [node]], dtype=object),
    lambda node: tg.constant([node, node]), lambda node: tg.Parameter([node]), lambda node: node + [node] * 3,
    lambda node: np.arange(9.0)[node], lambda node: np.ones(3).dot(node),
], ids=["asarray", "array", "asarray of a dtype", "array of nodes", "array of objects", "nested", "constant",
        "Parameter", "list of nodes", "index", "dot"])
@pytest.mark.parametrize("value", [2.0, [0.0, 1.0, 2.0]], ids=["0-d", "1-d"])
def test_a_node_never_turns_into_an_array_by_itself(convert, value):
    with pytest.raises(TypeError, match=INSTEAD):
        convert(tg.constant(value))


def test_storing_a_node_into_an_array_is_refused(node, scalar):
    array = np.zeros(3)

    def store(index, value):
        array[index] = value

    for index, value in [(slice(None), node), (slice(None), scalar), (Ellipsis, scalar), ([0, 1], scalar)]:
        with pytest.raises(TypeError, match=INSTEAD):
            store(index, value)
    # For a single entry NumPy asks for a float, and puts its own words over ours.
    with pytest.raises(ValueError, match="sequence") as caught:
        array[0] = scalar
    assert "write node.value for its array" in str(caught.value.__cause__)
    assert not array.any()


def test_a_sentence_for_writing_into_a_node(node):
    sentence = r"constant \(3,\) float64 cannot be written into.*write node\.at\[i\]\.set\(new\) or np\.where\("
    with pytest.raises(TypeError, match=sentence):
        node[0] = 5.0
    with pytest.raises(TypeError, match=r"Parameter W.*cannot be written into"):
        tg.Parameter(np.ones(2), "W")[:] += 1


def test_arrays_do_not_swallow_nodes_in_place(node):
    array = np.ones(3)
    with pytest.raises(TypeError, match=r"write `array = array \+ node`"):
        array += node
    with pytest.raises(TypeError, match=r"np\.multiply cannot write a node into an array"):
        array *= node
    np.testing.assert_array_equal(array, 1)


@pytest.mark.parametrize("call", [
    lambda node, array: np.exp(node, out=array), lambda node, array: np.add(array, array, out=node),
    lambda node, array: np.sum(node, out=array), lambda node, array: np.add.reduce(node, out=array[0]),
    lambda node, array: np.matmul(node, array, out=np.zeros(())),
], ids=["from a node", "into a node", "function", "reduce", "matmul"])
def test_out_is_refused(call, node):
    with pytest.raises(TypeError, match=r"np\.\w+ cannot write a node into an array"):
        call(node, np.ones(3))


@pytest.mark.parametrize(("call", "name"), [
    (lambda x: np.isnat(x), "the ufunc isnat"),
    (lambda x: np.sort_complex(x), "np.sort_complex"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_has_no_counterpart_is_named(call, name, node):
    with pytest.raises(NotImplementedError, match=f"^{name} has no counterpart on nodes.*tg.Op"):
        call(node)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda x: np.exp(x, subok=False), "np.exp on nodes takes no subok="),
    (lambda x: np.matmul(x, x, axes=[0, 0, ()]), "np.matmul on nodes takes no axes="),
    (lambda x: np.quantile(x, 0.5, weights=x), "np.quantile on nodes takes no weights="),
    (lambda x: np.reshape(x, 3, order="A"), "np.reshape on nodes takes order='C' or 'F'"),
    (lambda x: np.concatenate([x, x], casting="unsafe"), "np.concatenate on nodes takes no casting="),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_a_counterpart_does_not_take_is_named(call, sentence, node):
    with pytest.raises(NotImplementedError, match=sentence):
        call(node)


def test_default_options_may_be_spelled_out(node):
    same(np.sum(node, None, None, None, False), 6.0)
    same(np.exp(node, out=None), np.exp(node.value))
    same(np.max(a=node, axis=0), 3.0)


@pytest.mark.parametrize("use", [tg.constant, tg.Parameter, lambda a: tg.constant(np.ones(3)) + a],
                         ids=["constant", "Parameter", "input"])
def test_masked_arrays_are_refused(use):
    with pytest.raises(TypeError, match=r"masked arrays are not covered.*np\.where\(mask, 0., array\)"):
        use(np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False]))


def test_a_masked_array_on_the_left_is_refused_too(node):
    with pytest.raises(TypeError):
        np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False]) + node


@pytest.mark.parametrize("use", [
    tg.constant, tg.Parameter, tg.State, lambda x: tg.constant(1.0) + x, lambda x: x * tg.constant(1.0),
    lambda x: tg.constant(1.0) == x,
], ids=["constant", "Parameter", "State", "right", "left", "comparison"])
@pytest.mark.parametrize("value", ["text", ["a", "b"], None, object()], ids=["str", "strings", "None", "object"])
def test_what_is_no_number_is_refused(use, value):
    with pytest.raises(TypeError, match="expected numbers, got"):
        use(value)


@pytest.mark.parametrize("value", [np.array([1, 2], object), np.array(["a"]), np.timedelta64(1, "s"), np.str_("a")],
                         ids=["objects", "strings", "time", "str"])
def test_numpy_has_more_that_is_no_number(value):
    for use in (tg.constant, lambda x: tg.constant(1.0) * x, lambda x: x * tg.constant(1.0)):
        with pytest.raises(TypeError):
            use(value)


def test_a_node_is_not_wrapped_again(node):
    for wrap in (tg.constant, tg.Parameter, tg.State):
        with pytest.raises(TypeError, match=r"constant \(3,\) float64 is a node already; write node\.value"):
            wrap(node)


@pytest.mark.parametrize("make", [lambda: tg.constant(1.0), lambda: tg.Parameter(1.0), lambda: tg.State(1.0),
                                  lambda: tg.constant(1.0) * 2, lambda: tg.ops.ReLU(1.0)],
                         ids=["constant", "Parameter", "State", "primitive", "op"])
def test_the_habit_of_writing_backward(make):
    node = make()
    for call in (node.backward, lambda: node.backward(np.ones(())), lambda: node.backward(retain_graph=True)):
        with pytest.raises(TypeError, match=r"backward is the rule of a single op; write loss\.backprop\(\)"):
            call()


def test_only_parameters_hold_gradients(node):
    for other in (node, node.sum(), tg.State(1.0)):
        with pytest.raises(AttributeError, match=r"holds no \.grad: only a Parameter does; ask tg\.backprop"):
            other.grad
        assert not hasattr(other, "grad")
        with pytest.raises(AttributeError):
            other.grad = 1.0


# ------------------------------------------------------------------------------------------------ states and parameters

@pytest.mark.parametrize("array", [3, [1, 2], True, np.zeros(2, np.int8), np.zeros(2, bool)], ids=repr)
def test_integers_have_no_gradient(array):
    with pytest.raises(TypeError, match=r"Parameter \(\d?,?\) \w+ cannot have a gradient: give floats"):
        tg.Parameter(array)
    assert tg.State(array).dtype == np.asarray(array).dtype  # a counter is a state


@pytest.mark.parametrize("kind", [tg.State, tg.Parameter])
def test_a_state_copies_its_array(kind):
    array = np.array([1.0, 2.0])
    state = kind(array)
    array[:] = 0
    np.testing.assert_array_equal(state.value, [1, 2])
    array[:] = 5
    state.value = array
    array[:] = 0
    np.testing.assert_array_equal(state.value, [5, 5])


def test_an_assignment_keeps_shape_and_dtype():
    w = tg.Parameter(np.zeros((2, 3), np.float32), "W")
    w.value = np.ones((2, 3), np.float64)
    assert w.dtype == np.float32
    w.value = np.full((2, 3), 2)
    np.testing.assert_array_equal(w.value, np.full((2, 3), 2, np.float32), strict=True)
    for wrong in (np.ones((3, 2)), np.ones(3), 1.0, [[1.0]]):
        with pytest.raises(ValueError, match=r"Parameter W \(2, 3\) float32 cannot take a value of shape"):
            w.value = wrong
    with pytest.raises(TypeError, match=r"Parameter W .* cannot take a value of dtype complex128"):
        w.value = np.ones((2, 3), complex)
    with pytest.raises(TypeError, match="expected numbers"):
        w.value = None
    with pytest.raises(TypeError, match="is a node already"):
        w.value = w * 2
    np.testing.assert_array_equal(w.value, 2)
    counter = tg.State(np.array(3))
    with pytest.raises(TypeError, match="cannot take a value of dtype float64"):
        counter.value = 3.5
    counter.value = counter.value + 1
    assert counter.item() == 4


def test_earlier_graphs_keep_the_values_that_were_used():
    p = tg.Parameter(np.array([1.0, 2.0]))
    squares = p * p
    p.value = np.array([10.0, 20.0])
    same(squares, [1.0, 4.0])
    squares.sum().backprop()
    np.testing.assert_array_equal(p.grad, [2, 4])
    np.testing.assert_array_equal(tg.backprop(squares.sum(), wrt=p), [2, 4])
    (p * p).sum().backprop()
    np.testing.assert_array_equal(p.grad, [20, 40])


def test_an_earlier_value_read_stays_as_it_was():
    p = tg.Parameter(np.array([1.0, 2.0]))
    before = p.value
    p.value = before * 10
    np.testing.assert_array_equal(before, [1, 2])


def test_two_values_of_one_parameter_in_one_graph_are_refused():
    p = tg.Parameter(np.ones(2), "W")
    half = (p * p).sum()
    p.value = np.zeros(2)
    whole = half + p.sum()
    for sweep in (whole.backprop, lambda: tg.backprop(whole, wrt=p)):
        with pytest.raises(ValueError, match=r"Parameter W \(2,\) float64 got a new value between two uses"):
            sweep()
    assert p.grad is None


def test_assigning_an_equal_value_is_an_assignment_too():
    p = tg.Parameter(1.0)
    y = p * 2
    p.value = p.value
    with pytest.raises(ValueError, match="between two uses"):
        (y + p).backprop()


def test_a_state_in_an_expression_is_its_value_without_gradient():
    rate, p = tg.State(0.5), tg.Parameter(4.0)
    loss = rate * p
    loss.backprop()
    assert loss.item() == 2
    assert p.grad == 0.5
    assert (rate * 2).needs_grad is False
    with pytest.raises(ValueError, match="depends on no Parameter"):
        (rate * 2).backprop()
    assert tg.backprop(loss, wrt=rate) == 4


def test_the_gradient_of_a_parameter():
    p = tg.Parameter(np.ones(2, np.float32), "W")
    assert p.grad is None
    given = np.array([1.0, 2.0])
    p.grad = given
    given[:] = 0
    np.testing.assert_array_equal(p.grad, np.array([1, 2], np.float32), strict=True)
    for wrong in (1.0, np.ones(3)):
        with pytest.raises(ValueError, match=r"Parameter W .* cannot take a gradient of shape"):
            p.grad = wrong
    p.grad = None
    assert p.grad is None


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))],
                         ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("kind", [tg.State, tg.Parameter])
def test_a_copy_is_a_state_of_its_own(duplicate, kind):
    original = kind(np.array([1.0, 2.0], np.float32), "W")
    twin = duplicate(original)
    assert type(twin) is kind
    assert twin is not original
    assert twin.name == "W"
    np.testing.assert_array_equal(twin.value, original.value, strict=True)
    twin.value = np.array([5.0, 6.0])
    np.testing.assert_array_equal(original.value, [1, 2])
    if kind is tg.Parameter:
        (original * twin).sum().backprop()
        np.testing.assert_array_equal(original.grad, [5, 6])
        np.testing.assert_array_equal(twin.grad, [1, 2])


def test_copies_of_a_shared_parameter_are_shared():
    p = tg.Parameter(1.0)
    model = copy.deepcopy({"encoder": p, "decoder": p})
    assert model["encoder"] is model["decoder"] is not p


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_node_may_stand_beside_it(duplicate):
    p = tg.Parameter(np.array([1.0, 2.0]))
    y = p * 3
    twin = duplicate(y)
    same(twin, [3.0, 6.0])
    (y * twin).sum().backprop()
    np.testing.assert_array_equal(p.grad, 18 * p.value)


# ---------------------------------------------------------------------------------------------------------------- repr

def test_repr_says_what_and_which_values():
    w = tg.Parameter(np.array([[0.5, -1.25]]), "W")
    assert repr(tg.constant(2.0)) == "<constant () float64 2.>"
    assert repr(tg.constant(np.array([1, 2]))) == "<constant (2,) int64 [1, 2]>"
    assert repr(tg.State(0)) == "<State () int64 0>"
    assert repr(w) == "<Parameter W (1, 2) float64\n[[ 0.5 , -1.25]]>"
    assert repr(w * 2) == "<Multiply (1, 2) float64\n[[ 1. , -2.5]]>"
    assert repr(w.sum() > 0) == "<Greater () bool False>"


def test_repr_of_a_large_node_is_short():
    text = repr(tg.constant(np.arange(1e6).reshape(1000, 1000)))
    assert text.startswith("<constant (1000, 1000) float64\n[[")
    assert "..." in text
    assert len(text.splitlines()) == 6


def test_queries_take_nodes_by_name_too():
    x = tg.constant([1.0, 3.0])
    assert np.argmax(a=x) == 1
    assert np.array_equal(np.zeros_like(a=x), [0, 0])
    assert (x > 2).any()
    assert not np.all(x > 2)


@pytest.mark.parametrize("change", [operator.iadd, operator.isub, operator.imul, operator.itruediv])
def test_a_state_does_not_change_in_place(change):
    with pytest.raises(TypeError, match=r"x\.value = x\.value"):
        change(tg.Parameter([1.0]), 2.0)


def test_reading_the_value_in_a_traced_rule_is_refused():
    class Cube(tg.Op):
        def forward(self, x):
            return x * x * x

        def backward(self, grad, y, x):
            return grad * 3 * (x.value if isinstance(x, tg.Node) else x) ** 2

    assert tg.grad(Cube)(2.0) == 12.0
    with pytest.raises(TypeError, match="read as a number"):
        tg.grad(tg.grad(Cube))(2.0)
