"""Universal functions: that each is covered, their options and methods, and complex numbers."""

import operator

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.node import twin_of

UFUNCS = {f for f in vars(np).values() if isinstance(f, np.ufunc)}
LEFT_OUT = {np.isnat}  # of dates, which are no nodes
X = np.array([[0.5, -1.5, 2.0], [3.0, -0.25, 1.0]])


def test_every_ufunc_is_covered():
    assert {f for f in UFUNCS if twin_of(f) is None} == LEFT_OUT


@pytest.mark.parametrize("ufunc", sorted(UFUNCS - LEFT_OUT, key=lambda f: f.__name__), ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.float16, np.float64, np.complex64])
def test_value_and_dtype_for_every_type(ufunc, dtype):
    """Whatever NumPy takes, nodes take, with the same result; what it refuses they refuse."""
    inputs = [np.array([[1, 1], [1, 0]], dtype), np.array([1, 1], dtype)][:ufunc.nin]
    if ufunc.__name__ == "vecmat":
        inputs = inputs[::-1]
    with np.errstate(all="ignore"):
        try:
            expected = ufunc(*inputs)
        except TypeError:
            with pytest.raises(TypeError):
                ufunc(*map(tg.constant, inputs))
            return
        found = ufunc(*map(tg.constant, inputs))
    for y, wanted in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
        assert isinstance(y, tg.Node)
        np.testing.assert_array_equal(y.value, wanted)
        assert y.dtype == wanted.dtype


# --------------------------------------------------------------------------------------------------- operators, methods

@pytest.mark.parametrize("operation", [operator.floordiv, operator.mod, operator.truediv, operator.pow],
                         ids=lambda f: f.__name__)
def test_operators(operation):
    x = tg.constant(X)
    np.testing.assert_array_equal(operation(x, 2.0).value, operation(X, 2.0))
    np.testing.assert_array_equal(operation(2.0, x).value, operation(2.0, X))


def test_divmod_and_round():
    x = tg.constant(X)
    for found, wanted in zip((*divmod(x, 2), *divmod(2, x)), (*divmod(X, 2), *divmod(2, X)), strict=True):
        np.testing.assert_array_equal(found.value, wanted)
    np.testing.assert_array_equal(round(x).value, np.round(X))
    np.testing.assert_array_equal(round(x / 3, 1).value, np.round(X / 3, 1))
    np.testing.assert_array_equal(x.round(1).value, X.round(1))


def test_clip_of_an_array_by_a_node():
    np.testing.assert_array_equal(X.clip(tg.constant(0.0), 1).value, X.clip(0, 1))


def test_ndarray_methods():
    z = tg.constant(X + 1j)
    for found, wanted in [(z.real, X), (z.imag, 1 + 0 * X), (z.conj(), X - 1j), (z.conjugate(), X - 1j),
                          (z.real.clip(0, 1), X.clip(0, 1)), (z.real.clip(max=1), X.clip(max=1))]:
        np.testing.assert_array_equal(found.value, wanted)


def test_methods_that_write_are_refused():
    x = tg.constant(X)
    for method in (x.sort, x.fill, x.partition, x.put):
        with pytest.raises(TypeError, match=r"cannot be written into.*np\.sort"):
            method(0)


# -------------------------------------------------------------------------------------------------------------- options

def test_dtype_casts_the_inputs():
    x = tg.Parameter(np.float32([1, 2]))
    y = np.multiply(x, 3, dtype=float)
    assert y.dtype == float
    assert tg.backprop(y.sum(), wrt=x).dtype == np.float32
    assert np.add(tg.constant([1, 2]), 1, dtype=float).dtype == float
    with pytest.raises(TypeError, match=r"[Cc]annot cast"):
        np.multiply(tg.constant(1.0), 3, dtype=int)
    with pytest.raises(TypeError, match=r"[Cc]annot cast"):
        np.multiply(x, 3.0, dtype=np.float16, casting="safe")
    np.testing.assert_array_equal(np.multiply(tg.constant([1.7]), 3, dtype=int, casting="unsafe").value, [3])


@pytest.mark.parametrize("mask", [X > 0, tg.constant(X > 0)], ids=["array", "node"])
def test_where_leaves_out(mask):
    """Entries that are not computed are 0, and so is their gradient; nothing is said of them."""
    np.testing.assert_array_equal(np.log(tg.constant(X), where=mask).value, np.where(X > 0, np.log(np.abs(X)), 0))
    for order in (1, 2):
        f = lambda x: np.sum(np.log(x, where=mask))  # noqa: E731
        if order == 2:
            f = lambda x, f=f: np.sum(tg.grad(f)(x))  # noqa: E731
        wanted = np.where(X > 0, 1 / X, 0) if order == 1 else np.where(X > 0, -1 / X**2, 0)
        np.testing.assert_array_equal(tg.grad(f)(X), wanted)
    assert np.less(tg.constant(X), 1, where=mask).dtype == bool
    assert np.add(tg.constant(X.astype(np.float32)), 1, where=mask).dtype == np.float32
    whole, part = np.divmod(tg.constant(X), 0, where=np.zeros((2, 3), bool))
    assert not whole.value.any()
    assert not part.value.any()


def test_methods_of_integers_and_truth():
    n = tg.constant([[1, 2, 7], [4, 4, 4]])
    np.testing.assert_array_equal(np.bitwise_and.reduce(n, axis=1).value, [0, 4])
    np.testing.assert_array_equal(np.gcd.reduce(n, axis=1).value, [1, 4])
    np.testing.assert_array_equal(np.logical_xor.reduce(n > 3, axis=1).value, [True, True])
    np.testing.assert_array_equal(np.subtract.reduce(n, axis=1, dtype=float).value, [-8, -4])
    np.testing.assert_array_equal(np.clip(n, None, 3).value, np.clip(n.value, None, 3))
    assert np.clip(n, None, 3).dtype == np.nan_to_num(n).dtype == int
    assert np.logaddexp.reduce(tg.constant(2.0)).item() == 2


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda x: np.add.at(x, 0, 1.0), TypeError, r"np.add.at .*x\.at\[index\]\.add"),
    (lambda x: np.add.at(np.zeros(3), 0, x), TypeError, r"x\.at\[index\]\.add"),
    (lambda x: np.sin.reduce(x), (TypeError, ValueError), "sin|reduce"),
    (lambda x: np.subtract.reduce(x, axis=(0, 1)), ValueError, "not reorderable"),
    (lambda x: np.subtract.reduce(x, where=X > 0), ValueError, "initial"),
    (lambda x: np.fmax.reduce(x[:0]), ValueError, "no identity"),
    (lambda x: np.fmax.reduce(x, axis=2), ValueError, "axis 2"),
    (lambda x: np.add.reduce(x, out=np.zeros(3)), TypeError, "cannot write"),
    (lambda x: np.exp(x, out=np.zeros(3)), TypeError, "cannot write"),
    (lambda x: np.nan_to_num(x, copy=False), TypeError, "copy"),
    (lambda x: np.clip(x, 0, 1, out=np.zeros((2, 3))), TypeError, "cannot write"),
], ids=range(11))
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(tg.constant(X))


# ------------------------------------------------------------------------------------------- kinks and singular points

def test_clip_gives_bounds_the_rest():
    x, low, high = np.array([-2.0, 0, 0.5, 1, 3]), np.zeros(5), np.ones(5)
    dx, dlow, dhigh = tg.grad(lambda *a: np.sum(np.clip(*a)), (0, 1, 2))(x, low, high)
    np.testing.assert_array_equal([dx, dlow, dhigh], [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]])
    dx, dlow, dhigh = tg.grad(lambda *a: np.sum(np.clip(*a)), (0, 1, 2))(x, high, low)
    np.testing.assert_array_equal([dx, dlow, dhigh], [0 * x, 0 * x, 1 + 0 * x])


@pytest.mark.parametrize("power", [0, 1, 2, 5])
def test_derivatives_of_sinc(power):
    """Of any order, and to full precision on either side of where the series ends."""
    from mpmath import mp

    f = np.sinc
    for _ in range(power):
        f = tg.grad(f)
    for x in (0.0, 1e-8, 1e-3, 0.4, (power + 1) / np.pi * 0.999, (power + 1) / np.pi * 1.001, -2.3):
        with mp.workdps(40):
            wanted = float(mp.diff(mp.sincpi, mp.mpf(x), power))
        assert abs(f(x) - wanted) < 2e-14 * np.pi**power


def test_precision_of_logaddexp_far_out():
    slope = tg.grad(np.logaddexp, 0)
    assert slope(-50.0, 0.0) == pytest.approx(np.exp(-50.0), rel=1e-15)
    assert slope(1000.0, 1010.0) == pytest.approx(1 / (1 + np.exp(10.0)), rel=1e-14)


def test_precision_of_arctan2_and_hypot_near_and_far():
    for scale in (1e-200, 1e200):
        assert tg.grad(np.arctan2)(3 * scale, 4 * scale) * scale == pytest.approx(4 / 25)
        assert tg.grad(np.hypot)(3 * scale, 4 * scale) == pytest.approx(3 / 5)
    assert tg.grad(np.arctan2)(1.0, np.inf) == 0
    assert tg.grad(np.arctan2, 1)(np.inf, 1.0) == 0


def test_real_if_close():
    z = X + 1e-18j
    y = np.real_if_close(tg.constant(z))
    np.testing.assert_array_equal(y.value, np.real_if_close(z), strict=True)
    assert np.real_if_close(tg.constant(z + 1j)).dtype == complex
    np.testing.assert_array_equal(tg.grad(lambda z: np.sum(np.real_if_close(z)))(z), 1 + 0 * z)


def test_infinities_are_replaced_by_numbers():
    x = np.array([1, np.inf, -np.inf, np.nan])
    for options in ({}, {"nan": 2.0, "posinf": 3.0, "neginf": -3.0}):
        np.testing.assert_array_equal(np.nan_to_num(tg.constant(x), **options).value, np.nan_to_num(x, **options))
        z = np.array([complex(a, b) for a in x for b in x])
        np.testing.assert_array_equal(np.nan_to_num(tg.constant(z), **options).value, np.nan_to_num(z, **options))
        np.testing.assert_array_equal(tg.grad(lambda x, o=options: np.sum(np.nan_to_num(x, **o)))(x), [1, 0, 0, 0])


# ----------------------------------------------------------------------------------------------------- complex numbers

def test_absolute_value_of_0_has_slope_0():
    z = np.array([0, 3 + 4j])
    np.testing.assert_allclose(tg.grad(lambda z: np.sum(np.abs(z)))(z), [0, 0.6 - 0.8j], rtol=1e-15)
    np.testing.assert_array_equal(tg.grad(lambda z: np.sum(np.real(np.sign(z))))(0 * z), [0, 0])


def test_a_real_input_gets_the_real_part():
    x, c = np.array([0.5, -1.5]), np.array([2 + 1j, 3 - 2j])
    p = tg.Parameter(x)
    np.testing.assert_array_equal(tg.backprop(p * c, wrt=p, grad=c), np.real(c * c))
    traced = tg.backprop(p * c, wrt=p, grad=tg.constant(c), traced=True)
    assert traced.dtype == float
    np.testing.assert_array_equal(tg.backprop(p[:, None] * c, wrt=p, grad=np.ones((2, 2)) * 1j), [1, 1])


def test_casts_between_real_and_complex():
    x = tg.Parameter(X)
    np.testing.assert_array_equal(tg.backprop((x.astype(complex) * (2 - 1j)).real.sum(), wrt=x), 2 + 0 * X)
    z = tg.Parameter(X + 1j)
    with pytest.warns(np.exceptions.ComplexWarning):
        y = z.astype(float)
    np.testing.assert_array_equal(tg.backprop(y.sum(), wrt=z), 1 + 0 * z.value)
    x = tg.Parameter(X.astype(np.float32))
    assert tg.backprop(np.abs(x.astype(np.complex64)).sum(), wrt=x).dtype == np.float32


# --------------------------------------------------------------------------------------------------- Fourier transforms

FAMILY = [np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft, np.fft.fft2, np.fft.ifft2,
          np.fft.fftn, np.fft.ifftn, np.fft.rfft2, np.fft.rfftn, np.fft.irfft2, np.fft.irfftn]


@pytest.mark.parametrize("transform", FAMILY, ids=lambda f: f.__name__)
def test_mistakes_are_numpys_errors(transform):
    for options, error in ({"norm": "both"}, ValueError), ({"out": np.zeros((2, 3), complex)}, TypeError):
        with pytest.raises(error):
            transform(tg.constant(X), **options)
    if "n" in transform.__name__[-1:]:
        with pytest.raises(ValueError, match="different lengths"):
            transform(tg.constant(X), s=(2,), axes=(0, 1))


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_back_and_forth_is_the_identity(n):
    """So the gradient is the cotangent, to rounding."""
    x, c = np.linspace(-1, 2, n), np.linspace(2, 5, n)
    for norm in (None, "ortho", "forward"):
        pull = tg.vjp(lambda x, norm=norm: np.fft.irfft(np.fft.rfft(x, norm=norm), n, norm=norm), x)[1]
        np.testing.assert_allclose(pull(c)[0], c, rtol=1e-14)


def test_the_energy_of_a_spectrum():
    """By Parseval's theorem its gradient is known."""
    x = np.linspace(-1, 2, 7)
    grad = tg.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    np.testing.assert_allclose(grad, 2 * 7 * x, atol=1e-13)
    H = tg.hessian(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    np.testing.assert_allclose(H, 14 * np.eye(7), atol=1e-13)
