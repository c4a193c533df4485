"""`tg.derive`: the equations of a network are those that the documents derive by hand, and each is true."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import tinygraph as tg
from tests.cases import CASES, is_float
from tinygraph import classifier, ops
from tinygraph.derivation import expression
from tinygraph.derivation.notation import Text, shown, split_name

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(3, 6)), np.array([0, 2, 1, 1, 0, 2])


def lines(derivation, **options):
    """The equations as plain text, without their numbers."""
    text = derivation.text(shapes=False, rules=False, **options)
    return [re.sub(r"^\(\d+\) +", "", line).strip() for line in text.splitlines()]


def network(units=(3, 5, 4, 3), **options):
    net = classifier.NNClassifier(units, rng=0)
    return net, tg.derive(net.loss_node(X, T), names={"X": X, "t": T}, **options)


# ---- the documents' network


def documents_algorithm(L):
    """The documents' algorithm, for L layers."""
    yield "Forward pass"
    for l in range(1, L + 1):
        yield f"Z{l} = W{l} {f'A{l - 1}' if l > 1 else 'X'} + b{l}"
        if l < L:
            yield f"A{l} = ReLU(Z{l})"
    yield from ("n = 6", "T = onehot(t)")
    yield f"L = (Σ (log Σ[axis 0] exp(Z{L}) − Σ[axis 0] T ⊙ Z{L})) / n"
    yield "Backward pass"
    for l in range(L, 0, -1):
        yield f"∂L/∂Z{l} = ∂L/∂A{l} ⊙ [Z{l} > 0]" if l < L else f"∂L/∂Z{L} = (softmax(Z{L}; axis 0) − T) / n"
        yield f"∇W{l} = ∂L/∂Z{l} {f'A{l - 1}' if l > 1 else 'X'}ᵀ"
        yield f"∇b{l} = Σ[samples] ∂L/∂Z{l}"
        if l > 1:
            yield f"∂L/∂A{l - 1} = W{l}ᵀ ∂L/∂Z{l}"
    yield "Update"
    for l in range(1, L + 1):
        yield from (f"{p}{l} ← {p}{l} − α ∇{p}{l}" for p in "Wb")


@pytest.mark.parametrize("units", [(3, 3), (3, 5, 3), (3, 5, 4, 3)])
def test_the_documents_algorithm_line_for_line(units):
    net = classifier.NNClassifier(units, rng=0)
    loss = net.loss_node(X, T)
    derivation = tg.derive(loss, names={"X": X, "t": T}, optimizer=classifier.SGD(net, lr=0.1))
    assert lines(derivation) == list(documents_algorithm(len(units) - 1))
    derivation.check().raise_if_failed()


def test_shapes_stand_under_letters():
    _, derivation = network((3, 5, 3))
    one, two = derivation.text().splitlines()[1:3]
    assert [(one[m.start():].split()[0], m[0]) for m in re.finditer(r"\S+", two)] == [
        ("Z1", "5×6"), ("W1", "5×3"), ("X", "3×6"), ("b1", "5×1")]


def test_the_step_of_the_chain_rule_is_told():
    _, derivation = network((3, 5, 3))
    text = str(derivation)
    assert "∂L/∂Z2 · ∂Z2/∂W2   MatMul: dA = dC Bᵀ, dB = Aᵀ dC" in text
    assert "∂L/∂A1 · ∂A1/∂Z1   ReLU: dx = dy where x > 0, and 0 elsewhere, at 0 too" in text


def test_beside_each_equation_its_generated_source():
    net, derivation = network((3, 5, 3), optimizer=None)
    found = {line.split(" = ")[0]: line for line in lines(derivation, source=True)}
    text = derivation.text(shapes=False, rules=False, source=True)
    for code in (">>> Z1 = W1.dot(X) + b1", ">>> dW2 = dZ2.dot(A1.T)", ">>> dA1 = W2.T.dot(dZ2)",
                 ">>> dW1 = dZ1.dot(X.T)"):
        assert code in text
    assert found
    for style in (derivation.latex, derivation.markdown, derivation.html):
        assert "dW2 = dZ2.dot(A1.T)" in style(source=True)
        assert "dW2 = dZ2" not in style()
    scope = {}
    exec(derivation.source, scope)
    parameters = [np.array(p.value) for p in net.parameters]
    net.loss(X, T)
    net.backward()
    results = dict(zip(re.findall(r"\w+", derivation.source.rpartition("return")[2]),
                       scope["step"](X, T, *parameters), strict=True))
    assert np.isclose(results["loss"], net.loss(X, T))
    for parameter in net.parameters:
        assert np.allclose(results[f"d{parameter.name}"], parameter.grad)


def test_update_lines_of_the_source():
    net = classifier.NNClassifier((3, 3), rng=0)
    derivation = tg.derive(net.loss_node(X, T), optimizer=classifier.SGD(net, lr=0.5))
    assert ">>> W1 -= 0.5 * dW1" in derivation.text(source=True)


def test_adam_as_in_its_paper():
    model = tg.nn.Linear(3, 3, rng=0)
    optimizer = tg.optim.Adam(model, lr=0.1)
    derivation = tg.derive(tg.nn.cross_entropy(model(X.T), T), optimizer=optimizer)
    found = lines(derivation)
    m, v, W = found[found.index("Update") + 1:][:3]
    assert m == "m_W ← 0.9 m_W + 0.1 ∇W"
    assert v == "v_W ← 0.999 v_W + 0.001 (∇W)²"
    assert re.fullmatch(r"W ← W − α .*1 − 0\.9\^\(count \+ 1\)\) m_W / \(√\(v_W\).*", W)
    before = {state: state._version for state in tg.nn.parameters(model).values()}
    derivation.check().raise_if_failed()
    assert all(state._version is version for state, version in before.items())
    assert re.search(r">>> v_W.*= ", derivation.text(source=True))


def test_who_needs_the_old_value_of_a_state_comes_before_it_changes():
    model = tg.nn.Linear(3, 3, rng=0)
    found = lines(tg.derive(tg.nn.cross_entropy(model(X.T), T), optimizer=tg.optim.Lion(model, lr=0.1)))
    assert found.index("W ← W − α sign(0.9 m_W + 0.1 ∇W)") < found.index("m_W ← 0.99 m_W + 0.01 ∇W")


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "AdamW", "Adamax", "Lion", "NAdam", "RMSProp"])
def test_updates_of_optimizers_hold(name):
    model = tg.nn.Linear(3, 3, rng=0)
    optimizer = getattr(tg.optim, name)(model, lr=0.1)
    for _ in range(2):  # so that moments are not 0
        loss = tg.nn.cross_entropy(model(X.T), T)
        loss.backprop()
        optimizer.step()
    loss = tg.nn.cross_entropy(model(X.T), T)
    loss.backprop()
    optimizer.step()  # the loss keeps the values that it used
    tg.derive(loss, optimizer=optimizer).check().raise_if_failed()


# ---- other networks


def test_samples_in_rows():
    model = tg.nn.Sequential(tg.nn.Linear(3, 5, rng=0), tg.nn.ReLU(), tg.nn.Linear(5, 3, rng=1))
    derivation = tg.derive(tg.nn.cross_entropy(model(X.T), T), names={"X": X.T, "t": T})
    found = lines(derivation)
    for line in ("Z1 = X W1 + b1", "A1 = ReLU(Z1)", "Z2 = A1 W2 + b2", "∇W2 = A1ᵀ ∂L/∂Z2", "∂L/∂A1 = ∂L/∂Z2 W2ᵀ",
                 "∇b1 = Σ[samples] ∂L/∂Z1", "∇W1 = Xᵀ ∂L/∂Z1"):
        assert line in found
    derivation.check().raise_if_failed()


def test_attention():
    x, Q, K = RNG.normal(size=(2, 5, 4)), *(tg.Parameter(RNG.normal(size=(4, 4)), name=f"W_{k}") for k in "QK")
    scores = (x @ Q) @ np.swapaxes(x @ K, -1, -2)
    derivation = tg.derive(np.sum(ops.Softmax(scores / 2) @ x), names={"x": x})
    found = lines(derivation)
    for line in ("P1 = Z1 Z2ᵀ", "∂L/∂R1 = P2 ⊙ (∂L/∂P2 − Σ[axis 2] ∂L/∂P2 ⊙ P2)", "∂L/∂Z2 = ∂L/∂P1ᵀ Z1",
                 "∂L/∂Z1 = ∂L/∂P1 Z2", "∇W_K = Σ[axis 0] xᵀ ∂L/∂Z2"):
        assert line in found
    derivation.check().raise_if_failed()


def test_contributions_are_added_where_a_letter_is_used_twice():
    W, x = tg.Parameter(RNG.normal(size=(4, 4)), name="W"), RNG.normal(size=(5, 4))
    h = np.tanh(x @ W)
    derivation = tg.derive(np.sum(np.tanh(h @ W) + h), names={"x": x})
    found = lines(derivation)
    assert "∂L/∂A1 = ∂L/∂U1 + ∂L/∂Z2 Wᵀ" in found
    assert "∇W = A1ᵀ ∂L/∂Z2 + xᵀ ∂L/∂Z1" in found
    assert "∂L/∂Z1 = ∂L/∂A1 ⊙ (1 − A1²)" in found
    derivation.check().raise_if_failed()


def test_products_of_two_kinds_have_parentheses():
    A, B = (tg.Parameter(RNG.normal(size=(3, 3)), name=name) for name in "AB")
    C = expression.Symbol("C", np.ones((3, 3)))

    def text(x):
        return shown(x, Text(shapes=False))[0]

    a, b = (expression.Symbol(x.name, x.value) for x in (A, B))
    product, both = expression.apply("@", a, b), expression.apply("*", a, b)
    assert text(expression.apply("*", product, C)) == "(A B) ⊙ C"
    assert text(expression.apply("@", C, both)) == "C (A ⊙ B)"
    assert text(expression.apply("@", C, product)) == "C A B"
    assert text(expression.apply("*", C, both)) == "C ⊙ A ⊙ B"
    assert text(expression.apply("*", C, expression.apply("/", a, b))) == "C ⊙ (A / B)"
    assert text(expression.apply("@", expression.apply("T", expression.apply("+", a, b)), C)) == "(A + B)ᵀ C"
    assert text(expression.apply("*", expression.Constant(-0.5), both)) == "−0.5 A ⊙ B"
    assert text(expression.apply("+", C, expression.apply("sum", both, axis=0))) == "C + Σ[axis 0] A ⊙ B"
    assert text(expression.apply("*", expression.apply("sum", a), b)) == "(Σ A) B"


def test_names_of_a_model_are_paths():
    model = tg.nn.Sequential(tg.nn.Linear(3, 2, rng=0))
    derivation = tg.derive(np.sum(model(X.T)), names={"net": model})
    assert "net.layers.0.W" in derivation.text()
    assert r"W_{\mathrm{net.layers.0}}" in derivation.latex()


def test_an_array_that_is_used_twice_has_one_letter():
    x, w = RNG.normal(size=3), tg.Parameter(RNG.normal(size=3), name="w")
    derivation = tg.derive(np.sum((x * w - x.copy()) * np.reshape(w, (3,))), names={"x": x})
    assert "D1 = x ⊙ w − x" in lines(derivation)
    derivation.check().raise_if_failed()
    assert "x_2" in derivation.source


def test_a_state_is_named_by_itself():
    w = tg.Parameter(RNG.normal(size=3))
    loss = np.sum(w * w)
    w.value = np.ones(3)  # the loss has the value that it used
    assert "L = Σ P1" in lines(tg.derive(loss, names={"weight": w}))
    assert "P1 = weight²" in lines(tg.derive(loss, names={"weight": w}))


def test_two_parameters_of_one_name_are_told_apart():
    a, b = (tg.Parameter(RNG.normal(size=3), name="w") for _ in range(2))
    derivation = tg.derive(np.sum(a * b))
    assert sorted(x.name for x in expression.letters_of(derivation.equations[0].right)) == ["w1", "w2"]
    derivation.check().raise_if_failed()


class Swish(tg.Op):
    """y = x / (1 + exp(-x))"""

    def forward(self, x):
        return x / (1 + np.exp(-x))


class Kept(tg.Op):
    """y = x s;   dx = dy (s + y (1 - s))"""

    def forward(self, x):
        s = 1 / (1 + np.exp(-x))
        return x * s, s

    def backward(self, grad, y, x, s):
        return grad * (s + y * (1 - s))


class Told(tg.Elementwise):
    """y = x s;   dx = dy (s + y (1 - s))"""
    formula = """
        s = sigmoid(x)
        x * s
        dx = dy * (s + y * (1 - s))
    """

    def forward(self, x):
        return x / (1 + np.exp(-x))

    def backward(self, grad, y, x):
        s = 1 / (1 + np.exp(-x))
        return grad * (s + y * (1 - s))


class Lied(tg.Elementwise):
    formula = """
        x ** 2
        dx = dy * x
    """

    def forward(self, x):
        return x * x

    def backward(self, grad, y, x):
        return 2 * grad * x


def test_an_own_op_is_written_as_its_expansion():
    w = tg.Parameter(RNG.normal(size=3), name="w")
    found = lines(tg.derive(np.sum(Swish(w))))
    assert found[1:4] == ["U1 = −w", "U2 = 1 + exp(U1)", "R1 = w / U2"]
    assert "∇w = ∂L/∂R1 / U2 − ∂L/∂U1" in found


class Outer(tg.Op):
    """The sum of x swish(x), of an op within an op."""

    def forward(self, x):
        return np.sum(Swish.apply(x * x) * x)


def test_expansions_within_expansions():
    w = tg.Parameter(RNG.normal(size=3), name="w")
    derivation = tg.derive(Outer(w) * Outer(2 * w))
    derivation.check().raise_if_failed()
    alone = tg.derive(Outer(w))  # the loss itself is expanded
    assert lines(alone)[1:3] == ["P1 = w²", "U1 = −P1"]
    assert "∇w = ∂L/∂P2 ⊙ R1 + 2 ∂L/∂P1 ⊙ w" in lines(alone)
    alone.check().raise_if_failed()


@pytest.mark.parametrize(("op", "first"), [(Kept, "s = 1 / (1 + exp(−w))"), (Told, "s = σ(w)")])
def test_an_own_op_with_a_rule_or_a_formula(op, first):
    w = tg.Parameter(RNG.normal(size=3), name="w")
    derivation = tg.derive(np.sum(op(w)))
    assert lines(derivation) == ["Forward pass", first, "U1 = w ⊙ s", "L = Σ U1", "Backward pass", "∂L/∂U1 = 1",
                                 "∇w = ∂L/∂U1 ⊙ (s + U1 ⊙ (1 − s))"]
    derivation.check().raise_if_failed()


def test_a_formula_that_is_wrong_is_found():
    w = tg.Parameter(RNG.normal(size=3), name="w")
    report = tg.derive(np.sum(Lied(w))).check()
    assert [(v.claim, v.status) for v in report.failures] == [("both sides", "wrong")]
    assert "∇w" in report.failures[0].input


def test_a_rule_that_is_wrong_is_found():
    class Wrong(tg.Elementwise):
        def forward(self, x):
            return x * x * x

        def backward(self, grad, y, x):
            return 2 * grad * x

    report = tg.derive(np.sum(Wrong(tg.Parameter(RNG.normal(size=3), name="w")))).check()
    assert [v.claim for v in report.failures] == ["differences"]


def test_a_branch_that_is_not_taken():
    w = tg.Parameter(np.array([0.0, 4.0]), name="w")
    with np.errstate(all="ignore"):
        derivation = tg.derive(np.sum(np.where(w > 0, np.sqrt(w), w)))
    (equation,) = [e for e in derivation.equations if e.left.name == "dw"]
    assert np.isfinite(expression.evaluate(equation.right)).all()


# ---- every op


def _case_by_op():
    found = {}
    for case in CASES:
        if case.op not in found and not case.flat and case.op.differentiable:
            inputs = case.arrays()
            if any(is_float(x) and x.size for x in inputs):
                found[case.op] = case
    return found


@pytest.mark.parametrize("case", [pytest.param(c, id=op.__name__) for op, c in _case_by_op().items()])
def test_every_op_derives_and_its_equations_hold(case):
    inputs = [tg.Parameter(x) if is_float(x) else x for x in case.arrays()]
    y = case.op(*inputs, **case.options)
    y = np.real(y) if y.dtype.kind == "c" else y
    derivation = tg.derive(np.sum(y * np.random.default_rng(0).uniform(0.5, 1.5, y.shape)))
    derivation.check().raise_if_failed()
    ElementTree.fromstring(re.sub(r"<style>.*?</style>", "", derivation._repr_html_(), flags=re.DOTALL))
    assert derivation.latex().isascii()


FORMULAS = [op for op in _case_by_op() if op.formula]


@pytest.mark.parametrize("op", FORMULAS, ids=lambda op: op.__name__)
def test_formulas_mean_what_the_op_computes(op):
    for case in [case for case in CASES if case.op is op][:6]:
        inputs = case.arrays()
        found = expression.written(op, [expression.Constant(x) for x in inputs], case.options)
        value = np.asarray(op.apply(*inputs, **case.options)[0] if op.n_kept else op.apply(*inputs, **case.options))
        assert np.allclose(np.asarray(expression.evaluate(found), value.dtype).reshape(value.shape), value)


# ---- formats


def test_html_is_well_formed_and_has_no_link():
    _, derivation = network(optimizer=None)
    page = derivation.html(source=True)
    ElementTree.fromstring(page.partition("<body>")[2].partition("</body>")[0].replace("&nbsp;", " "))
    assert "http" not in page
    assert page.count("<math") >= len(derivation.equations)


def test_notebooks_get_all_three_forms():
    _, derivation = network()
    assert derivation._repr_latex_().startswith("$$\\begin{aligned}")
    assert derivation._repr_latex_().count(r"\\") == len(derivation.equations) - 1
    assert derivation._repr_markdown_().count("$$") == 2 * len(derivation.equations)
    assert "<math" in derivation._repr_html_()


def test_latex_balances():
    net = classifier.NNClassifier((3, 5, 3), rng=0)
    derivation = tg.derive(net.loss_node(X, T), optimizer=classifier.SGD(net, lr=0.1))
    text = derivation.latex()
    assert text.isascii()
    assert text.count("{") == text.count("}")
    assert text.count(r"\begin{equation}") == text.count(r"\end{equation}") == len(derivation.equations)
    assert text.count(r"\left(") == text.count(r"\right)") == 1
    assert r"\nabla_{\!W_{1}}\mathcal{L}" in text
    assert r"W_{1} - \alpha \, " in derivation.latex(shapes=False)


COMMANDS = re.findall(r"\S+", r"""\alpha \ast \begin \cdot \end \exp \frac \ge \land \le \left \leftarrow \lnot \log
\lor \mathcal \mathrm \max \min \nabla \ne \noindent \odot \operatorname \paragraph \partial \pi \right
\scriptscriptstyle \sigma \sqrt \star \sum \tag \text \texttt \theta \times \top \underset""")


def test_latex_is_of_amsmath_and_compiles(tmp_path):
    gain, bias = tg.Parameter(np.ones(3), name="gain"), tg.Parameter(np.zeros(3), name="bias_1")
    y = ops.LayerNorm(tg.constant(X.T) @ tg.Parameter(RNG.normal(size=(3, 3)), name="W_in"), gain, bias)
    other = tg.derive(np.sum(np.where(y > 0.5, np.sqrt(np.abs(y)), np.cumsum(np.abs(y), axis=1)) ** 2.5))
    body = network()[1].latex(source=True) + other.latex()
    mathematics = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", body, flags=re.DOTALL)
    assert set(re.findall(r"\\[a-z]+", mathematics)) <= set(COMMANDS)
    if shutil.which("pdflatex") is None:
        return
    (tmp_path / "a.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{amsmath}}\begin{{document}}{body}\end{{document}}")
    done = subprocess.run(["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(("name", "parts"), [("W1", ("W", "1")), ("W_1", ("W", "1")), ("gain", ("gain", "")),
                                             ("layers.0.W", ("W", "layers.0")), ("W_in", ("W", "in")),
                                             ("x", ("x", ""))])
def test_names_become_letters_with_an_index(name, parts):
    assert split_name(name) == parts


# ---- errors


def test_what_cannot_be_derived_says_why():
    w = tg.Parameter(np.ones(3), name="w")
    with pytest.raises(TypeError, match="derive takes the loss as a node, got float"):
        tg.derive(1.0)
    with pytest.raises(ValueError, match=r"derive starts from one real number, but this is Multiply \(3,\)"):
        tg.derive(w * 2)
    with pytest.raises(ValueError, match="depends on no Parameter"):
        tg.derive(np.sum(tg.constant(np.ones(3)) * 2))
    with pytest.raises(ValueError, match="computed from nothing"):
        tg.derive(tg.Parameter(1.0))
    with pytest.raises(ValueError, match=r"names\['X'\], of shape \(2,\), is not in the graph"):
        tg.derive(np.sum(w * 2), names={"X": np.ones(2)})
    with pytest.raises(TypeError, match=r"names.*object: give a node, an array, or a model"):
        tg.derive(np.sum(w * 2), names={"X": object()})


def test_a_formula_that_cannot_be_read_says_why():
    class Odd(tg.Elementwise):
        formula = "open(x)"

        def forward(self, x):
            return x + 0

        def backward(self, grad, y, x):
            return grad

    with pytest.raises(ValueError, match=r"formula of Odd says 'open\(x\)'"):
        tg.derive(np.sum(Odd(tg.Parameter(np.ones(2)))))


def test_five_hundred_nodes():
    h = tg.constant(X.T)
    for _ in range(125):
        h = np.tanh(h @ tg.Parameter(RNG.normal(size=(3, 3)) / 2) + tg.Parameter(np.zeros(3)))
    derivation = tg.derive(np.sum(h))
    assert len(derivation.equations) == 751
    assert "Z125 = A124 W125 + b125" in lines(derivation)


def test_a_name_with_an_ampersand_is_no_alignment_in_latex():
    w = tg.Parameter(np.ones(3), name="a & b")
    for line in tg.derive(np.sum(2 * w)).latex().splitlines():
        assert "&" not in line.replace(r"\&", ""), line
        assert r"a & b" not in line


def test_an_outer_product_is_one():
    W, x = tg.Parameter(np.ones((3, 2)), name="W"), tg.Parameter(np.ones(2), name="x")
    derivation = tg.derive(np.sum(np.tanh(W @ x) ** 2))
    assert "∇W = ∂L/∂Z1 xᵀ" in derivation.text(shapes=False, rules=False)
    assert r"{\nabla_{\!W}\mathcal{L}}^{2}" not in tg.derive(np.sum(np.tanh(W @ x)), optimizer=tg.optim.Adam(W)).latex()
    assert derivation.check()
