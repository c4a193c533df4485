"""Notation: an expression as plain text, as LaTeX, or as MathML.

`shown` walks an expression once and asks a `Style` for the pieces: a letter, a fraction, a sum over something. There
are three styles, and what they hand back (strings; for text, pairs of lines) is their own business. Each can put the
shape of every letter under it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from .expression import Apply, Constant, Expression, Symbol, apply, is_transpose, name_of

SUM, BIG, PRODUCT, SIGN, POSTFIX, ATOM = range(1, 7)  # how tightly an expression holds together; 0: a comparison
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "zeta": "ζ", "eta": "η", "theta": "θ",
         "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
         "sigma": "σ", "tau": "τ", "phi": "ϕ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
         "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω"}
_FUNCTIONS = {"relu": "ReLU", "one_hot": "onehot", "correlate": "conv", "max_over": "max", "min_over": "min",
              "sigmoid": "σ", "expit": "σ", "ndtr": "Φ"}
_INFIX = {"+": ("+", SUM), "-": ("−", SUM), "<": ("<", 0), "<=": ("≤", 0), ">": (">", 0), ">=": ("≥", 0),
          "==": ("=", 0), "!=": ("≠", 0), "and": ("∧", 0), "or": ("∨", 0), "cross": ("×", PRODUCT),
          "&": ("∧", 0), "|": ("∨", 0)}
_ENTRY_BY_ENTRY = {"*", "/", "+", "-", "keep", "<", "<=", ">", ">=", "==", "!="}
_BIG = {"sum": "Σ", "prod": "Π", "sum_over_samples": "Σ"}
_SILENT_OPTIONS = {"shape", "dtype", "keepdims", "classes"}


def split_name(name: str) -> tuple[str, str]:
    """A name as a letter and its index: W1 and W_1 are W with index 1, layers.0.W is W with index layers.0."""
    if "." in name:
        path, _, last = name.rpartition(".")
        return last, path
    match = re.fullmatch(r"([^\W\d_]+)_?(\d+)", name) or re.fullmatch(r"([^\W\d_]+)_(\w+)", name)
    return (match[1], match[2]) if match else (name, "")


class Style:
    """What `shown` asks for. The methods below say what each piece is; `shapes` puts shapes under letters."""

    stacked = True  # fractions and powers are not written in one line

    def __init__(self, shapes: bool = True) -> None:
        self.shapes = shapes

    def letter(self, x: Symbol) -> Any: ...
    def derivative(self, x: Symbol) -> Any: ...
    def partial(self, of: Symbol, by: Symbol) -> Any: ...
    def word(self, text: str) -> Any: ...
    def note(self, text: str) -> Any: ...
    def number(self, text: str) -> Any: ...
    def sign(self, text: str) -> Any: ...
    def row(self, *parts: Any) -> Any: ...
    def under(self, box: Any, shape: tuple[int, ...]) -> Any: ...
    def fenced(self, box: Any, left: str = "(", right: str = ")") -> Any: ...
    def fraction(self, a: Any, b: Any) -> Any: ...
    def power(self, a: Any, b: Any) -> Any: ...

    def behind(self, a: Any, b: Any) -> Any:
        return self.row(a, b)

    def root(self, a: Any) -> Any: ...
    def big(self, sign: str, over: str, a: Any) -> Any: ...
    def cases(self, a: Any, condition: Any, b: Any) -> Any: ...


class Text(Style):
    """Two lines that belong together: the expression, and the shapes under it."""

    stacked = False

    def _box(self, text: str) -> tuple[str, str]:
        return text, " " * _width(text)

    def _name(self, x: Symbol) -> str:
        base, index = split_name(x.name)
        return GREEK[base] + index if base in GREEK else x.name

    def letter(self, x: Symbol) -> Any:
        return self._box(self._name(x))

    def derivative(self, x: Symbol) -> Any:
        assert x.by is not None
        return self._box(f"∇{self._name(x.by)}" if x.by.role == "parameter" else f"∂L/∂{self._name(x.by)}")

    def partial(self, of: Symbol, by: Symbol) -> Any:
        return self._box(f"∂{self._name(of)}/∂{self._name(by)}")

    def word(self, text: str) -> Any:
        return self._box(text)

    number = note = word

    def sign(self, text: str) -> Any:
        return self._box(f" {text} " if text else " ")

    def row(self, *parts: Any) -> Any:
        return "".join(a for a, _ in parts), "".join(b for _, b in parts)

    def under(self, box: Any, shape: tuple[int, ...]) -> Any:
        name = box[0]
        text = "×".join(map(str, shape))
        width = max(_width(name), len(text))
        return name + " " * (width - _width(name)), text.ljust(width)

    def fenced(self, box: Any, left: str = "(", right: str = ")") -> Any:
        return self.row(self._box(left), (box[0].rstrip().ljust(len(box[0])), box[1]), self._box(right))

    def fraction(self, a: Any, b: Any) -> Any:
        return self.row(a, self.sign("/"), b)

    def power(self, a: Any, b: Any) -> Any:
        small = b[0].translate(_SUPERSCRIPTS)
        if any(c in _PLAIN for c in small):
            return self.row(a, self._box("^"), b if len(b[0]) == 1 else self.fenced(b))
        return self.behind(a, (small, ""))

    def behind(self, a: Any, b: Any) -> Any:
        end = len(a[0].rstrip())  # right behind the letter, before the room for its shape
        top = a[0][:end] + b[0] + a[0][end + _width(b[0]):]
        return top, a[1].ljust(_width(top))

    def root(self, a: Any) -> Any:
        return self.row(self._box("√"), self.fenced(a))

    def big(self, sign: str, over: str, a: Any) -> Any:
        return self.row(self._box(f"{sign}[{over}] " if over else f"{sign} "), a)

    def cases(self, a: Any, condition: Any, b: Any) -> Any:
        return self.row(self._box("{"), a, self._box(" where "), condition, self._box(", else "), b, self._box("}"))


_PLAIN = set("()[]{}.,/ =<>^") | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SUPERSCRIPTS = str.maketrans({**dict(zip("0123456789+−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", strict=True)), "⊤": "ᵀ", "-": "⁻"})


def _width(text: str) -> int:
    return sum(not unicodedata.combining(c) for c in text)


_TEX_SIGNS = {"⊙": r"\odot", "−": "-", "←": r"\leftarrow", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∧": r"\land",
              "∨": r"\lor", "·": r"\cdot", "": r"\,", "×": r"\times", "⊤": r"\top", "∞": r"\infty", "⋆": r"\star",
              "∗": r"\ast", "¬": r"\lnot "}


_TEX_WORDS = {"exp": r"\exp", "log": r"\log", "log ": r"\log ", "max": r"\max", "min": r"\min", "σ": r"\sigma",
              "Φ": r"\Phi"}


class Latex(Style):
    """Mathematics for LaTeX with amsmath, and for whatever reads that (MathJax, Markdown, notebooks)."""

    def _name(self, name: str) -> str:
        if name == LOSS:
            return r"\mathcal{L}"
        base, index = split_name(name)
        letters = {"": "", **{value: rf"\{key}" for key, value in GREEK.items()}}
        if base in GREEK:
            base = rf"\{base}"
        elif base in letters:
            base = letters[base]
        elif len(base) > 1:
            base = rf"\mathrm{{{_tex(base)}}}"
        small = index if index.isdigit() else rf"\mathrm{{{_tex(index)}}}"
        return f"{base}_{{{small}}}" if index else base

    def letter(self, x: Symbol) -> Any:
        return self._name(x.name)

    def derivative(self, x: Symbol) -> Any:
        assert x.by is not None
        by = self._name(x.by.name)
        return rf"\nabla_{{\!{by}}}\mathcal{{L}}" if x.by.role == "parameter" else _partial(r"\mathcal{L}", by)

    def partial(self, of: Symbol, by: Symbol) -> Any:
        return _partial(self._name(of.name), self._name(by.name))

    def word(self, text: str) -> Any:
        return _TEX_WORDS.get(text) or rf"\operatorname{{{_tex(text)}}}"

    def note(self, text: str) -> Any:
        return rf"\text{{{_tex(text)}}}"

    def number(self, text: str) -> Any:
        mantissa, exponent = _parts(text)
        number = mantissa.replace("∞", r"\infty ").replace("−", "-")
        power = f"10^{{{exponent}}}"
        if exponent:
            return power if number == "1" else rf"{number} \cdot {power}"
        return _TEX_SIGNS.get(text, number)

    def sign(self, text: str) -> Any:
        return f" {_TEX_SIGNS.get(text, text)} "

    def row(self, *parts: Any) -> Any:
        return "".join(parts)

    def under(self, box: Any, shape: tuple[int, ...]) -> Any:
        size = r" \times ".join(map(str, shape))
        return rf"\underset{{\scriptscriptstyle {size}}}{{{box}}}"

    def fenced(self, box: Any, left: str = "(", right: str = ")") -> Any:
        tall = re.search(r"\\(frac|sum|prod|sqrt|begin)(?![a-z])", box) and left != "["
        return rf"\left{left} {box} \right{right}" if tall else f"{left}{box}{right}"

    def fraction(self, a: Any, b: Any) -> Any:
        return rf"\frac{{{a}}}{{{b}}}"

    def power(self, a: Any, b: Any) -> Any:
        return rf"{{{a}}}^{{{b}}}"

    def root(self, a: Any) -> Any:
        return rf"\sqrt{{{a}}}"

    def big(self, sign: str, over: str, a: Any) -> Any:
        under = rf"_{{\text{{{over}}}}}" if over else ""
        return rf"\{'sum' if sign == 'Σ' else 'prod'}{under} {a}"

    def cases(self, a: Any, condition: Any, b: Any) -> Any:
        return rf"\begin{{cases}} {a} & {condition} \\ {b} & \text{{otherwise}} \end{{cases}}"


LOSS = "L"


def _parts(text: str) -> tuple[str, str]:
    """A number as printed, and its power of ten if it has one: 2.5 and -7 of 2.5e-07."""
    match = re.fullmatch(r"(.*\d)e\+?(-?)0*(\d+)", text)
    return (match[1], match[2] + match[3]) if match else (text, "")


def _partial(of: str, by: str) -> str:
    return rf"\frac{{\partial {of}}}{{\partial {by}}}"


def _tex(text: str) -> str:
    return re.sub(r"([_&%$#{}])", r"\\\1", text).replace("′", "'")


class MathML(Style):
    """Presentation MathML, which browsers draw by themselves."""

    def _name(self, name: str) -> str:
        if name == LOSS:
            return "<mi>ℒ</mi>"
        base, index = split_name(name)
        base = GREEK.get(base, base)
        letter = f"<mi>{escape(base)}</mi>"
        small = f"<mn>{index}</mn>" if index.isdigit() else f"<mtext>{escape(index)}</mtext>"
        return f"<msub>{letter}{small}</msub>" if index else letter

    def letter(self, x: Symbol) -> Any:
        return self._name(x.name)

    def derivative(self, x: Symbol) -> Any:
        assert x.by is not None
        if x.by.role == "parameter":
            return f"<mrow><msub><mo>∇</mo>{self._name(x.by.name)}</msub><mi>ℒ</mi></mrow>"
        return self._partial("<mi>ℒ</mi>", self._name(x.by.name))

    def partial(self, of: Symbol, by: Symbol) -> Any:
        return self._partial(self._name(of.name), self._name(by.name))

    def _partial(self, of: str, by: str) -> str:
        d = '<mo rspace="0">∂</mo>'
        return f"<mfrac><mrow>{d}{of}</mrow><mrow>{d}{by}</mrow></mfrac>"

    def word(self, text: str) -> Any:
        return f"<mi>{escape(text)}</mi>"

    def note(self, text: str) -> Any:
        return f"<mtext>{escape(text)}</mtext>"

    def number(self, text: str) -> Any:
        mantissa, exponent = _parts(text)
        power = f"<msup><mn>10</mn><mn>{exponent.replace('-', '−')}</mn></msup>"
        number = f"<mn>{escape(mantissa)}</mn>"
        return number if not exponent else power if mantissa == "1" else self.row(number, "<mo>·</mo>", power)

    def sign(self, text: str) -> Any:
        return f"<mo>{escape(text)}</mo>" if text else "<mspace width='0.17em'/>"

    def row(self, *parts: Any) -> Any:
        return f"<mrow>{''.join(parts)}</mrow>"

    def under(self, box: Any, shape: tuple[int, ...]) -> Any:
        return f'<munder>{box}<mtext class="shape">{"×".join(map(str, shape))}</mtext></munder>'

    def fenced(self, box: Any, left: str = "(", right: str = ")") -> Any:
        tall = re.search("<(mfrac|msqrt|mtable)|∑|∏", box) and left != "["
        still = "" if tall else ' stretchy="false"'
        return self.row(f"<mo{still}>{left}</mo>", box, f"<mo{still}>{right}</mo>")

    def fraction(self, a: Any, b: Any) -> Any:
        return f"<mfrac>{self.row(a)}{self.row(b)}</mfrac>"

    def power(self, a: Any, b: Any) -> Any:
        return f"<msup>{self.row(a)}{self.row(b)}</msup>"

    def root(self, a: Any) -> Any:
        return f"<msqrt>{a}</msqrt>"

    def big(self, sign: str, over: str, a: Any) -> Any:
        sign = {"Σ": "∑", "Π": "∏"}[sign]
        return self.row(f"<munder><mo>{sign}</mo><mtext>{escape(over)}</mtext></munder>" if over
                        else f"<mo>{sign}</mo>", a)

    def cases(self, a: Any, condition: Any, b: Any) -> Any:
        rows = [(a, condition), (b, "<mtext>otherwise</mtext>")]
        table = "".join(f"<mtr><mtd>{x}</mtd><mtd>{y}</mtd></mtr>" for x, y in rows)
        return self.row("<mo>{</mo>", f"<mtable columnalign='left'>{table}</mtable>")


# --------------------------------------------------------------------------------------------------------- the one walk

def shown(x: Expression, style: Style, level: int = 0) -> Any:
    """An expression in a style, in parentheses if it holds together less tightly than `level`."""
    while is_silent(x):
        x = x.arguments[0]  # type: ignore[attr-defined]
    if isinstance(x, Symbol):
        box = style.derivative(x) if x.by is not None else style.letter(x)
        return style.under(box, np.shape(x.value)) if style.shapes and np.ndim(x.value) else box
    if isinstance(x, Constant):
        return _constant(x, style, level)
    assert isinstance(x, Apply)
    box, own = _applied(x, style)
    if own == 0 < level:  # what a condition is worth is 1 or 0
        return style.fenced(box, "[", "]")
    return style.fenced(box) if own < level else box


def is_silent(x: Expression) -> bool:
    """Whether it only says how axes of length 1 lie, which the shapes under the letters do."""
    if not isinstance(x, Apply) or x.op is not None or x.head not in ("expand", "squeeze", "reshape", "restored"):
        return False
    return [n for n in x.shape if n != 1] == [n for n in x.arguments[0].shape if n != 1]


def _outer(x: Expression, a: Expression, b: Expression) -> tuple[Expression, Expression] | None:
    """The column and the row, if this is the outer product of two vectors that were made these without being told."""
    if len(x.shape) == 2 and 1 not in x.shape:
        for column, row in ((a, b), (b, a)):
            if is_silent(column) and column.shape == (x.shape[0], 1) and row.shape in (x.shape[1:], (1, x.shape[1])):
                return column, row
    return None


def _base(x: Expression, style: Style) -> Any:
    """What a power is of: a gradient in brackets, since ∇f² would be the gradient of the square."""
    while is_silent(x):
        x = x.arguments[0]  # type: ignore[attr-defined]
    box = shown(x, style, ATOM)
    return style.fenced(box) if isinstance(x, Symbol) and x.by is not None else box


def _entry(x: Expression) -> Expression:
    """An operand of what goes entry by entry, which repeats it where it must without being told."""
    return x.arguments[0] if isinstance(x, Apply) and x.head == "repeat" and x.op is None else x


def _constant(x: Constant, style: Style, level: int) -> Any:
    number = x.number
    if number is None:
        array = np.asarray(x.value)
        if array.dtype.kind not in "biuf" or not array.size or (array != array.flat[0]).any():
            box = style.note("constant")
        elif array.dtype.kind == "b":
            box = style.note(str(bool(array.flat[0])).lower())
        else:
            box = shown(Constant(array.flat[0]), style, ATOM)
        return style.under(box, array.shape) if style.shapes and array.ndim else box
    if isinstance(number, float) and number and abs(number) < 1 and np.isfinite(1 / number):
        whole = round(1 / number)
        if 1 / whole == number and whole < 10**9 and f"{number:.3g}" != repr(number):
            box = style.fraction(style.number("1"), style.number(str(whole)))
            return style.fenced(box) if not style.stacked and level >= PRODUCT else box
    text = _number(number)
    return style.fenced(style.number(text)) if text.startswith("−") and level > SUM else style.number(text)


def _number(x: Any) -> str:
    if isinstance(x, bool | np.bool):
        return str(x).lower()
    if isinstance(x, complex):
        return f"({x:.6g})".replace("j", "i").replace("-", "−")
    if x == float("inf") or x == -float("inf"):
        return "∞" if x > 0 else "−∞"
    return (f"{int(x)}" if x == x and x == int(x) and abs(x) < 1e15 else f"{x:.6g}").replace("-", "−", x < 0)


def _applied(x: Apply, style: Style) -> tuple[Any, int]:
    a = x.arguments[0] if x.arguments else Constant(0)
    b = x.arguments[1] if len(x.arguments) > 1 else a
    head = x.head if x.op is None else ""
    if head in _ENTRY_BY_ENTRY:
        a, b = _entry(a), _entry(b)
    match head:
        case "*" | "@" if (outer := _outer(x, a, b)) is not None:
            left, right = outer
            return style.row(shown(left, style, _factor(left, "@", PRODUCT)), style.sign(""),
                             style.power(_base(right, style), style.number("⊤"))), PRODUCT
        case "*" | "@" | "keep":
            scalar = head == "*" and not (_is_array(a) and _is_array(b))
            sign = "" if head == "@" or scalar else "⊙"
            if scalar and isinstance(a, Constant) and isinstance(b, Constant):
                sign = "·"
            right = style.fenced(shown(b, style), "[", "]") if head == "keep" else shown(
                b, style, _factor(b, head, SIGN))
            return style.row(shown(a, style, _factor(a, head, PRODUCT)), style.sign(sign), right), PRODUCT
        case "/" if style.stacked:
            return style.fraction(shown(a, style), shown(b, style)), SIGN
        case "/":
            return style.fraction(shown(a, style, PRODUCT), shown(b, style, SIGN)), PRODUCT
        case "neg":
            return style.row(style.word("−") if not isinstance(style, Latex) else "-", shown(a, style, PRODUCT)), SUM
        case "**":
            return style.power(_base(a, style), shown(b, style)), POSTFIX
        case "T" | "swap" if is_transpose(x):
            return style.power(shown(a, style, ATOM), style.number("⊤")), POSTFIX
        case "repeat" if isinstance(a, Constant) and a.number is not None:
            return shown(a, style), ATOM
        case "H":
            return style.power(shown(a, style, ATOM), style.word("H")), POSTFIX
        case "inv":
            return style.power(shown(a, style, ATOM), style.number("−1")), POSTFIX
        case "conj":
            return style.power(shown(a, style, ATOM), style.sign("∗")), POSTFIX
        case "not" | "~":
            return style.row(style.number("¬"), style.fenced(shown(a, style))), ATOM
        case "bracket":
            return style.fenced(shown(a, style), "[", "]"), ATOM
        case "abs":
            return style.fenced(shown(a, style), "|", "|"), ATOM
        case "sqrt":
            return style.root(shown(a, style)), ATOM
        case "where":
            return style.cases(shown(b, style), shown(a, style), shown(x.arguments[2], style)), ATOM
        case "index":
            return style.behind(shown(a, style, ATOM), style.note(_index(x))), POSTFIX
        case "sum" | "prod" | "sum_over_samples":
            over = "samples" if head == "sum_over_samples" else _axes(x.options.get("axis"), a)
            return style.big(_BIG[head], over, shown(a, style, PRODUCT)), BIG
        case "logaddexp":
            inner = apply("+", *(apply("exp", z) for z in (a, b)))
            return style.row(style.word("log"), style.fenced(shown(inner, style))), ATOM
        case "logsumexp":
            over = _axes(x.options.get("axis"), a)
            inner = style.row(style.word("exp"), style.fenced(shown(a, style)))
            return style.row(style.word("log "), style.big("Σ", over, inner)), BIG
        case "pull":
            of, by, node = x.options["output"], x.options["by"], x.options["of"]
            by_entry = node.elementwise
            if isinstance(of, Symbol) and isinstance(by, Symbol):
                slope = style.partial(of, by)
            else:
                slope = style.word(name_of(type(node)) + "′")
                if by_entry:
                    slope = style.row(slope, style.fenced(_listed(x.arguments[1:], style)))
            if not by_entry:
                slope = style.power(style.fenced(slope), style.number("⊤"))
            return style.row(slope, style.sign("⊙" if by_entry else ""), shown(a, style, SIGN)), PRODUCT
        case "correlate" if set(x.options.values()) <= {(1, 1), (0, 0), 0, 1}:
            return style.row(shown(a, style, SIGN), style.sign("⋆"), shown(b, style, SIGN)), PRODUCT
        case "correlate_by_x":
            return style.row(shown(a, style, SIGN), style.sign("∗"), shown(x.arguments[2], style, SIGN)), PRODUCT
        case "correlate_by_W":
            return style.row(shown(b, style, SIGN), style.sign("⋆"), shown(a, style, SIGN)), PRODUCT
        case "one_hot":
            return style.row(style.word("onehot"), style.fenced(shown(a, style))), ATOM
        case _ if head in _INFIX:
            sign, level = _INFIX[head]
            first = shown(a, style, level)
            return style.row(first, style.sign(sign), shown(b, style, level + (head not in ("+", "and", "or")))), level
    return style.row(*_call(x, style)), ATOM


def _call(x: Apply, style: Style) -> list[Any]:
    """`name(a, b; axis 0)`"""
    inner = [_listed(x.arguments if x.head != "scatter" else x.arguments[:1], style)]
    options = [_option(name, value, x) for name, value in x.options.items()
               if value is not None and value is not False and name not in _SILENT_OPTIONS]
    if options:
        text = "; " * bool(x.arguments) + ", ".join(options)
        inner.append(style.note(text))
    return [style.word(_FUNCTIONS.get(x.head, x.head)), style.fenced(style.row(*inner))]


def _listed(arguments: Sequence[Expression], style: Style) -> Any:
    """`a, b, c`"""
    inner: list[Any] = []
    for k, a in enumerate(arguments):
        inner += [style.word(", ") if isinstance(style, Text) else style.sign(",")] * (k > 0) + [shown(a, style)]
    return style.row(*inner)


def _option(name: str, value: Any, x: Apply) -> str:
    if name == "index":
        return f"at {_index(x)}"
    if name == "axis" and x.arguments:
        return _axes(value, x.arguments[0]) or "axis 0"
    return f"{name} {value}".replace("'", "")


def _factor(x: Expression, head: str, level: int) -> int:
    """How tightly a factor must hold together: products of one kind need no parentheses in each other."""
    if not isinstance(x, Apply) or x.op is not None or x.head not in ("*", "@", "keep"):
        return level
    if x.head == "*" and not all(map(_is_array, x.arguments)):  # by a number
        return PRODUCT
    return PRODUCT if (x.head == "@") == (head == "@") else SIGN


def _is_array(x: Expression) -> bool:
    return bool(x.shape) and int(np.prod(x.shape)) != 1


def _axes(axis: Any, x: Expression) -> str:
    """What a sum goes over, if that is not everything."""
    if axis is None or len(x.shape) <= 1:
        return ""
    axes = [int(i) % len(x.shape) for i in ([axis] if isinstance(axis, int | np.integer) else axis)]
    if len(axes) == len(x.shape):
        return ""
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def _index(x: Apply) -> str:
    parts, arrays = [], iter(x.arguments[1:])
    for part in x.options["index"]:
        if part is None:
            parts.append("new")
        elif part is Ellipsis:
            parts.append("...")
        elif isinstance(part, slice):
            ends = ["" if i is None else str(i) for i in (part.start, part.stop, part.step)]
            parts.append(":".join(ends[:2] + [ends[2]] * bool(ends[2])))
        elif isinstance(part, int | np.integer | np.bool):
            parts.append(str(part))
        else:
            array = next(arrays)
            parts.append(array.name if isinstance(array, Symbol) else "index")
    return f"[{', '.join(parts)}]"
