"""The NumPy target: a program as the source that a careful person would have written by hand, and ready to run.

`Writer` gives names and writes the source: what is one statement, and in whose memory, is decided in `numpy_plan`, and
how each op is written in `numpy_text`. `Executable` runs it, and makes a module of it that needs NumPy alone.
"""

from __future__ import annotations

import base64
import builtins
import itertools
import keyword
import linecache
import os
import re
import sys
import textwrap
import unicodedata
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..op import Op
from .exclusive import ALONE, make_exclusive
from .numpy_plan import SMALL, Statement, planned
from .numpy_text import (
    AddAt,
    Call,
    Copy,
    Text,
    augmented,
    dtype_argument,
    dtype_name,
    is_array,
    is_augmentable,
    literal,
    mathematics,
    shape_argument,
)
from .program import Instruction, Operand, Program, Var

# -------------------------------------------------------------------------------------------------------------- source

# What a person calls the result of an op, where the model has no name for it.
_HINTS: dict[type, str] = {
    ops.Exp: "E", ops.Log: "log", ops.Sum: "total", ops.Max: "largest", ops.Min: "smallest", ops.Multiply: "product",
    ops.MatMul: "product", ops.Divide: "ratio", ops.Subtract: "difference", ops.Add: "added", ops.Keep: "kept",
    ops.Where: "chosen", ops.Sqrt: "root", ops.Index: "part", ops.ScatterAdd: "scattered", ops.Pad: "padded",
    ops.Concatenate: "joined", ops.FoldWindows: "image", ops.Cast: "cast", ops.Reshape: "reshaped",
    ops.BroadcastTo: "repeated", ops.Negative: "negative", Copy: "result", AddAt: "added", ops.Equal: "mask",
    **dict.fromkeys((ops.Less, ops.LessEqual, ops.Greater, ops.GreaterEqual, ops.NotEqual, ops.LogicalNot,
                     ops.BitwiseAnd, ops.BitwiseOr, ops.BitwiseXor, ops.IsNan), "mask"),
}
_RESERVED = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "base64", "constants", "workspace",
             "new_workspace"}
_WIDTH = 110
_COMMENTS = 64  # the column of comments
_FORMULA = 60


class Writer:
    """The source of a plan. Also answers what forms ask (`numpy_text.Source`)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan = planned(program)
        self.taken = set(_RESERVED)
        self.function = self._unique(program.name)
        self.names: dict[Var, str] = {}
        self.labels = {s.instruction.inputs[0] for s in self.plan.statements if s.checks}
        self.compared = {x for i in self.plan.make.values() if i.op is ops.Equal and self.labels & {*i.inputs}
                         for x in i.vars}
        self.indices = {x for i in self.plan.make.values() if "index" in i.options for x in i.vars[1:]}
        self.made_once: dict[Any, str] = {}  # names of constants
        self.definitions: list[str] = []
        self.helpers: list[str] = []
        self.large: list[np.ndarray] = []
        self.objects: dict[str, Any] = {}  # what no source can express, by name
        self.arguments = (*program.inputs, *program.states)
        for x in self.arguments:
            self.names[x] = self._unique(x.name or ("x" if x in program.inputs else "p"))
        self.arrays: dict[Var, list[str]] = {}  # of the workspace, with all names that they get
        self.commented = set(self.names.values())
        self.lines: dict[str, list[str]] = {}  # the statements that lead to what the model has a name for
        body = self._body()
        self.source = "\n".join([*self._head(), *self._workspace(), *self._signature(), *body, ""])

    # ------------------------------------------------------------------------------------------------ what forms ask

    def text(self, x: Operand) -> Text:
        if not isinstance(x, Var):
            return literal(x)
        if x in self.plan.inline:
            i = self.plan.make[x]
            return self.plan.form[x].text(Call(i, self))  # type: ignore[misc]
        if x not in self.names:
            hint = x.name or ("classes" if x in self.compared else "places" if x in self.indices else "")
            self.names[x] = self.constant(self.program.constants[x], hint)
        return Text(self.names[x])

    def maker(self, x: Operand) -> Instruction | None:
        return self.plan.make[x] if x in self.plan.inline else None

    def value(self, x: Operand) -> np.ndarray | None:
        return self.program.constants.get(x) if isinstance(x, Var) else None

    def local(self, hint: str) -> str:
        if hint not in self.made_once:
            self.made_once[hint] = self._unique(hint)
        return self.made_once[hint]

    def foreign(self, thing: Any, hint: str) -> str:
        known = [name for name, it in self.objects.items() if it is thing]
        name = known[0] if known else self._unique(hint)
        self.objects[name] = thing
        return name

    def helper(self, hint: str, lines: list[str]) -> str:
        key = tuple(lines)
        if key not in self.made_once:
            name = self.made_once[key] = self._unique(hint)
            self.helpers += ["", "", lines[0].format(name=name), *lines[1:]]
        return self.made_once[key]

    def constant(self, array: np.ndarray, hint: str) -> str:
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self.made_once:
            text, kind = _constant_text(array)
            name = self.made_once[key] = self._unique(hint or kind)
            if not text:
                text = f"constants[{len(self.large)}]"
                self.large.append(array)
            self.definitions.append(f"{name} = {text}")
        return self.made_once[key]

    def _unique(self, hint: str) -> str:
        name = unicodedata.normalize("NFKC", re.sub(r"\W", "_", hint))[:40]
        name = name if name.isidentifier() else "x" + name
        name = name if name.isidentifier() else "x"
        tried = name if name not in _RESERVED else name + "_"
        n = 1
        while tried in self.taken:
            n += 1
            tried = f"{name}_{n}"
        self.taken.add(tried)
        return tried

    # ------------------------------------------------------------------------------------------------------- the body

    def _body(self) -> list[str]:
        lines: list[str] = []
        group: list[tuple[Statement, list[str]]] = []
        statements = self.plan.statements
        for n, s in enumerate(statements):
            self._name(s)
            written = self._written(s)
            if written:
                group.append((s, written))
            following = statements[n + 1] if n + 1 < len(statements) else None
            goes_on = following is not None and following.over is s.output and following.output.name == s.output.name
            goes_on = goes_on or s.output in self.plan.begun
            if (s.output.name or s.state is not None) and not goes_on:
                lines += self._group(group)
                group = []
        lines += self._group(group)
        returned = [self.text(x).code for x in self.plan.outputs]
        if returned:
            lines += wrapped(f"    return {', '.join(returned)}" if len(returned) == 1
                             else f"    return ({', '.join(returned)})")
        if self.arrays:
            first = ", ".join(names[0] for names in self.arrays.values())
            unpacked = f"    {first}{',' if len(self.arrays) == 1 else ''} = workspace or new_workspace()"
            if len(unpacked) > _WIDTH:
                unpacked = f"    ({first}) = workspace or new_workspace()"
            lines = [*wrapped(unpacked), *lines]
        return lines

    def _name(self, s: Statement) -> None:
        """Give the result of a statement its name: that of the memory it is in, unless the model has another."""
        x, mine = s.output, self.plan.owner.get(s.output)
        if s.state is not None:
            self.names[x] = self.names[s.state]
        elif s.over is not None and (x.name == s.over.name if x.name else (
                is_augmentable(s.instruction) or s.instruction.op is AddAt)):
            self.names[x] = self.names[s.over]
        elif not s.checks:
            self.names[x] = self._unique(x.name or self._hint(s.instruction))
        if mine in self.plan.borrowed:
            names = self.arrays.setdefault(self.plan.borrowed[mine], [])
            if self.names[x] not in names:
                names.append(self.names[x])

    def _hint(self, i: Instruction) -> str:
        """What a person calls the result of an instruction."""
        before = [self.plan.op(x) for x in i.inputs]
        if i.op is ops.Sum and ops.Exp in before:
            return "S"
        if i.op is ops.Subtract and ops.Max in before:
            return "shifted"
        if i.op is Copy and i.inputs[0] in self.program.states:
            return "old_" + self.names[i.inputs[0]]
        if i.op is ops.Equal and any(x in self.labels for x in i.inputs):
            return "T"
        return _HINTS.get(i.op) or i.op.__name__.lower()

    def _written(self, s: Statement) -> list[str]:
        """The lines of a statement, without indentation."""
        call, form, x = Call(s.instruction, self), s.form, s.output
        if s.checks:
            return form.lines(call, "")  # type: ignore[misc]
        name = self.names[x]
        if s.state is not None:
            if (line := augmented(call, name)) is not None:
                return [line]
            if x.nbytes <= SMALL and form.text is not None and form.lines is None:
                return [f"{name}[...] = {form.text(call).code}"]
            out = name
        elif s.over is not None:
            out = self.names[s.over]
        elif (mine := self.plan.owner.get(x)) in self.plan.borrowed:
            out = self.arrays[self.plan.borrowed[mine]][0]
        elif form.text is not None:
            return [f"{name} = {form.text(call).code}"]
        else:
            made = "np.zeros" if form.zeros else "np.empty"
            return [f"{name} = {made}({shape_argument(x.shape)}{dtype_argument(x.dtype)})", *form.lines(call, name)]  # type: ignore[misc]
        if form.into is not None:
            if name == out:
                return [augmented(call, out) or form.into(call, out)]
            return [f"{name} = {form.into(call, out)}"]
        renamed = [f"{name} = {out}"] * (name != out)
        if s.over in s.instruction.inputs:
            return [*form.lines(call, out), *renamed]  # type: ignore[misc]
        return [*renamed, *[f"{name}.fill(0)"] * form.zeros, *form.lines(call, name)]  # type: ignore[misc]

    # ------------------------------------------------------------------------------------------------------- comments

    def _group(self, group: list[tuple[Statement, list[str]]]) -> list[str]:
        """The statements that lead to a value which the model has a name for, below its equation."""
        if not group:
            return []
        last = group[-1][0]
        named = last.output.name or last.state is not None
        several = len(group) > 1
        if named:
            key = last.output.name if last.state is None else "new " + self.names[last.state]
            self.lines.setdefault(key, []).extend(line for _, written in group for line in written)
        lines = ["", f"    # {self._equation(last)}"] if several and named else [""] * several
        for s, written in group:
            comment = ""
            if s.state is None and not s.checks:
                name = self.names[s.output]
                if not several and named and s.form.into is not None:
                    comment = self._equation(s)
                elif name not in self.commented and not (several and named and name == self.names[last.output]):
                    comment = f"{s.output.shape}{'' if s.output.dtype.kind == 'f' else f' {s.output.dtype}'}"
                self.commented.add(name)
            lines += [*commented(wrapped("    " + written[0]), comment),
                      *[line for text in written[1:] for line in wrapped("    " + text)]]
        return lines

    def _equation(self, s: Statement) -> str:
        """`Z1 = W1 X + b1, (10, 100)`"""
        name, sign = self.names[s.output], "=" if s.state is None else "←"
        for spell_out in (True, False):
            formula = self._formula(s.output, spell_out, name)
            if formula is not None and len(formula) <= _FORMULA:
                return f"{name} {sign} {formula}, {s.output.shape}"
        return f"{name}, {s.output.shape}"

    def _formula(self, x: Var, spell_out: bool, name: str) -> str | None:
        """What is assigned to `x`. spell_out: also what has a name here, but not in the model, and is used once."""
        plan, size = self.plan, 0

        def operand(y: Operand) -> Text:
            nonlocal size
            if not isinstance(y, Var):
                return literal(int(y) if isinstance(y, float) and y.is_integer() and abs(y) < 1e6 else y, short=True)
            inner = y in plan.inline or (y in plan.make and plan.uses[y] == 1 and (
                self.names[y] == name or (spell_out and not y.name)))
            size += 1
            known = mathematics(plan.make[y], operand) if inner and size < 30 else None
            return known or (self.text(y) if y not in plan.inline else Text("..."))

        found = mathematics(plan.make[x], operand)
        return found and found.code

    # ------------------------------------------------------------------------------------------------------- the frame

    def _head(self) -> list[str]:
        return [f'"""{self.function}: traced and written by tinygraph, for arguments of the shapes that it names."""',
                "", "import numpy as np", *[""] * bool(self.definitions),
                *itertools.chain(*map(wrapped, self.definitions)), *self.helpers]

    def _workspace(self) -> list[str]:
        if not self.arrays:
            return ["", ""]
        lines = ["", "", "def new_workspace():",
                 f'    """The arrays that a call of {self.function} writes into; the next may have them again."""',
                 "    return ("]
        for x, names in self.arrays.items():
            made = f"        np.empty({shape_argument(x.shape)}{dtype_argument(x.dtype)}),"
            lines += commented([made], ", ".join(names), 40)
        return [*lines, "    )", "", ""]

    def _signature(self) -> list[str]:
        program = self.program
        names = [self.names[x] for x in self.arguments]
        more = ["*", "workspace=None"] if self.arrays else []
        updated = {state for state, _ in program.updates}
        said = [("", program.inputs), ("reads ", [x for x in program.states if x not in updated]),
                ("updates in place ", [x for x in program.states if x in updated])]
        outputs = [f"{self.text(x).code} {_kind(x)}" if self.text(x).code.isidentifier() else _kind(x)
                   for x in self.plan.outputs]
        text = "; ".join(f"{verb}{', '.join(f'{self.names[x]} {_kind(x)}' for x in xs)}" for verb, xs in said if xs)
        text = f"{text}; returns {', '.join(outputs) or 'nothing'}.".strip("; ")
        return [*wrapped(f"def {self.function}({', '.join([*names, *more])}):"),
                *wrapped(f'    """{text}"""', words=True)]


def _kind(x: Operand) -> str:
    if not is_array(x):
        return "a number"
    return f"{x.shape}{'' if x.dtype == np.float64 else f' {x.dtype}'}"


def _constant_text(array: np.ndarray) -> tuple[str, str]:
    """How an array is made ("": it takes too long to write), and what to call it."""
    dtype, flat, size = array.dtype, array.ravel(), shape_argument(array.shape)
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        return "", "constant"
    if not array.size:
        return f"np.zeros({size}{dtype_argument(dtype)})", "empty"
    if array.ndim and array.tobytes() == array.size * flat[:1].tobytes():
        number = flat[0].item()
        if number in (0, 1) and literal(number).code[0] != "-":
            name = "ones" if number else "zeros"
            return f"np.{name}({size}{dtype_argument(dtype)})", name
        return f"np.full({size}, {literal(number).code}{dtype_argument(dtype, np.asarray(number).dtype)})", "constant"
    if dtype == np.int64 and array.size > 1 and np.array_equal(flat, np.arange(array.size)):
        return f"np.arange({array.size})" + (f".reshape{array.shape}" if array.ndim > 1 else ""), "numbers"
    if array.size > 10:
        return "", "constant"
    return f"np.array({_listed(array.tolist())}{dtype_argument(dtype, np.asarray(array.tolist()).dtype)})", "constant"


def _listed(value: Any) -> str:
    return f"[{', '.join(map(_listed, value))}]" if isinstance(value, list) else literal(value).code


def wrapped(line: str, words: bool = False) -> list[str]:
    """A line as lines that are not too long: code, broken after commas between brackets, or words, outside of them."""
    margin = " " * (len(line) - len(line.lstrip()))
    lines = [margin]
    for piece in _pieces(line[len(margin):], words):
        if lines[-1].strip() and len(lines[-1]) + len(piece.rstrip()) > _WIDTH:
            lines.append(margin + "    " * (not words))
        lines[-1] += piece
    return [text.rstrip() for text in lines]


def _pieces(line: str, words: bool) -> Iterator[str]:
    depth, quoted, start = 0, "", 0
    for n, letter in enumerate(line):
        if quoted or (letter in "\"'" and not words):
            quoted = "" if letter == quoted else quoted or letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == " " and (not depth if words else depth and line[n - 1] == ","):
            yield line[start:n + 1]
            start = n + 1
    yield line[start:]


def commented(lines: list[str], comment: str, column: int = _COMMENTS) -> list[str]:
    """Lines of code with a comment: behind the first of them, or above where it does not fit."""
    if not comment:
        return lines
    line = f"{lines[0]:<{column}}  # {comment}"
    if len(lines) == 1 and len(line) <= 120:
        return [line]
    return [f"{' ' * (len(lines[0]) - len(lines[0].lstrip()))}# {comment}"[:120], *lines]


# --------------------------------------------------------------------------------------------------------- to be run

_number = itertools.count(1).__next__

# The file names of programs that are gone, for the next ones. An entry of linecache is emptied and not taken out: that
# happens whenever a program is freed, also while linecache goes through its entries.
_UNUSED: defaultdict[str, list[str]] = defaultdict(list)


def _forget(name: str, filename: str) -> None:
    linecache.cache[filename] = 0, None, [], filename
    _UNUSED[name].append(filename)


def _apart(op: type[Op]) -> Callable[..., Any]:
    """The forward of somebody's own primitive, whose result shares no memory with what it was given."""
    def forward(*inputs: Any, **options: Any) -> Any:
        y = op.apply(*inputs, **options)
        return np.array(y) if any(np.may_share_memory(x, y) for x in inputs if isinstance(x, np.ndarray)) else y
    return forward


class Executable:
    """A program as a Python function on arrays. Its workspaces are kept, and each call borrows one."""

    name = "numpy"

    def __init__(self, program: Program) -> None:
        self.program = program
        writer = Writer(program)
        self.source, self.constants, self.objects = writer.source, writer.large, writer.objects
        self.names = [writer.names[x] for x in writer.arguments]
        self.memory, self.statements = writer.plan.bytes, len(writer.plan.statements)
        unused = _UNUSED[program.name]
        filename = unused.pop() if unused else f"<tinygraph: {program.name} {_number()}>"
        scope: dict[str, Any] = {"constants": self.constants}
        for name, x in self.objects.items():
            scope[name] = _apart(x) if isinstance(x, type) and issubclass(x, Op) else x
        exec(compile(self.source, filename, "exec"), scope)
        # What overflows does so quietly, as in every target: an error between two updates would leave half of them.
        self.function: Callable[..., Any] = np.errstate(all="ignore")(scope[writer.function])
        self.workspaces: list[Any] = []
        self.new_workspace: Callable[[], Any] | None = scope.get("new_workspace")
        # So that tracebacks show the line.
        linecache.cache[filename] = len(self.source), None, self.source.splitlines(keepends=True), filename
        weakref.finalize(self, _forget, program.name, filename)

    def run(self, inputs: Sequence[Any], states: Sequence[np.ndarray]) -> list[Any]:
        """The outputs, new arrays or Python numbers; the updated states are written in place."""
        if self.new_workspace is None:
            result = self.function(*inputs, *states)
        else:
            try:
                workspace = self.workspaces.pop()
            except IndexError:
                workspace = self.new_workspace()
            try:
                result = self.function(*inputs, *states, workspace=workspace)
            finally:
                self.workspaces.append(workspace)
        outputs = self.program.outputs
        results = (result,) if len(outputs) == 1 else result or ()
        return [x if var.weak else np.asarray(x) for x, var in zip(results, outputs, strict=True)]

    def quick(self, entry: Any) -> Callable[..., Any] | None:
        """A function of a call's positional arguments that returns what the call does; NotImplemented for arguments of
        another signature. It is written for this signature, without loops over arguments and states."""
        given, program = entry.unpacking, self.program
        if given is None:
            return None
        scope: dict[str, Any] = {
            **entry.scope, **given.scope, "ndarray": np.ndarray, "asarray": np.asarray, "count": sys.getrefcount,
            "alone": ALONE, "make_exclusive": make_exclusive, "run": self.function, "take": self.workspaces.pop,
            "give": self.workspaces.append, "new": self.new_workspace}
        lines = [*given.lines]

        def require_dtype(name: str, n: int, x: Var) -> None:
            scope[f"dtype{n}"] = x.dtype
            lines.append(f"if {name}.dtype is not dtype{n} and {name}.dtype != dtype{n}: return NotImplemented")

        for n, (x, name) in enumerate(zip(program.inputs, given.leaves, strict=True)):
            if x.weak:
                kind = type(x.dtype.type().item()).__name__
                lines.append(f"if {name}.__class__ is not {kind}: return NotImplemented")
            else:
                lines.append(f"if {name}.__class__ is not ndarray or {name}.shape != {x.shape}: return NotImplemented")
                require_dtype(name, n, x)
        updated = {var for var, _ in program.updates}
        arrays = []
        for n, (x, state) in enumerate(zip(program.states, entry.states, strict=True), len(program.inputs)):
            scope[f"s{n}"] = state
            arrays.append(f"a{n}")
            lines += [f"v{n} = s{n}._version", f"a{n} = v{n}._value"]
            require_dtype(f"a{n}", n, x)  # a state keeps its shape
            if x in updated:
                lines += [f"if count(v{n}) > alone or count(a{n}) > alone or a{n}.base is not None "
                          f"or not a{n}.flags.carray:",
                          f"    del v{n}, a{n}",
                          f"    a{n} = make_exclusive(s{n})"]
        results = [f"y{n}" for n in range(len(program.outputs))]
        target = f"{', '.join(results)}{',' * (len(results) > 1)} = " if results else ""
        values = ", ".join([*given.leaves, *arrays])
        if self.new_workspace is None:
            lines.append(f"{target}run({values})")
        else:
            lines += ["try: w = take()", "except IndexError: w = new()",
                      f"try: {target}run({values}, workspace=w)", "finally: give(w)"]
        lines += [f"{y} = asarray({y})" for y, x in zip(results, program.outputs, strict=True) if is_scalar(x)]
        for n, (parameter, output) in enumerate(entry.grads):
            scope[f"p{n}"] = parameter
            lines.append(f"p{n}._grad = {'None' if output is None else f'y{output}'}")
        source = "\n    ".join([f"def quick({', '.join(given.names)}):", *lines, f"return {entry.result}"])
        exec(compile(source, f"<call of {program.name}>", "exec"), scope)
        quick: Callable[..., Any] = scope["quick"]
        return quick

    def explain(self) -> str:
        """What the program became: a line for the statements, and one for memory."""
        shared, alone = self.memory
        return (f"{self.statements} statements for {len(self.program.instructions)} instructions\n"
                f"workspace of {shared:,} bytes, {alone:,} if no two results shared memory")

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write a module that needs NumPy alone."""
        if self.objects:
            foreign = [name for name, x in self.objects.items() if isinstance(x, type)]
            raise ValueError(f"{', '.join(foreign)}: NumPy alone does not have this op, so the program cannot be "
                             "exported as a module of its own")
        constants = []
        for array in self.constants:
            text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
            constants += ["    np.frombuffer(base64.b64decode(",
                          *[f'        "{part}"' for part in textwrap.wrap(text, 100)],
                          f"    ), {dtype_name(array.dtype)}).reshape({array.shape}),"]
        head, rest = self.source.split("import numpy as np\n", 1)
        source = head + ("import base64\n\n" if constants else "") + "import numpy as np\n" + (
            "\n".join(["", "constants = (", *constants, ")", ""]) if constants else "") + rest + self._example()
        temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(source)
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise

    def _example(self) -> str:
        """The end of the module: a call on random numbers, when it is run as a script."""
        lines = ["", "", 'if __name__ == "__main__":  # on random numbers, to see it run',
                 "    rng = np.random.default_rng(0)"]
        for name, x in zip(self.names, (*self.program.inputs, *self.program.states), strict=True):
            if x.weak:
                value = literal(type(x.dtype.type().item())(0.1 if x.dtype.kind in "fc" else 1)).code
            elif x.dtype.kind == "f":
                value = f"rng.standard_normal({x.shape})" + (
                    f".astype({dtype_name(x.dtype)})" if x.dtype != np.float64 and x.shape else "")
                value = value if x.shape else f"np.array({value}{dtype_argument(x.dtype)})"
            else:
                value = f"np.zeros({x.shape}{dtype_argument(x.dtype)})"
            lines.append(f"    {name} = {value}")
        call = f"{self.function.__name__}({', '.join(self.names)})"
        return "\n".join([*lines, *wrapped(f"    print({call})"), ""])


def is_scalar(x: Var) -> bool:
    """Whether NumPy may return a scalar for it, where an array is promised."""
    return x.shape == () and not x.weak


def build(program: Program) -> Executable:
    return Executable(program)
