"""A native program as C files of its own: for use without Python.

`step.c` holds the function and all it needs: constants, and plain loops in the place of BLAS (with -DTINYGRAPH_BLAS it
calls the `dgemm_` and `sgemm_` of a library instead). `step.h` declares it and says what its arguments are;
`step_example.c` is a small `main`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .formulas import C_TYPES, VECTOR_MATH, number
from .program import Var

_GEMM = """\
#ifdef TINYGRAPH_BLAS
extern gemm{c} {c}gemm_;
gemm{c} *{name}_gemm{c} = {c}gemm_;
#else
/* C = alpha op(A) op(B) + beta C, with the columns of each matrix one after another, as BLAS has it. */
static void plain_gemm{c}(const char *ta, const char *tb, const int *m, const int *n, const int *k, const {t} *alpha,
                          const {t} *A, const int *lda, const {t} *B, const int *ldb, const {t} *beta, {t} *C,
                          const int *ldc)
{{
    const int64_t ai = *ta == 'N' ? 1 : *lda, al = *ta == 'N' ? *lda : 1;
    const int64_t bl = *tb == 'N' ? 1 : *ldb, bj = *tb == 'N' ? *ldb : 1;
    for (int64_t j = 0; j < *n; j++) {{
        {t} *restrict c = C + j * *ldc;
        for (int64_t i = 0; i < *m; i++) c[i] = *beta == 0 ? 0 : *beta * c[i];
        for (int64_t l = 0; l < *k; l++) {{
            const {t} b = *alpha * B[l * bl + j * bj];
            for (int64_t i = 0; i < *m; i++) c[i] += A[i * ai + l * al] * b;
        }}
    }}
}}
gemm{c} *{name}_gemm{c} = plain_gemm{c};
#endif
"""


def write(executable: Any, path: str | os.PathLike[str]) -> None:
    """Write PATH.c, PATH.h and PATH_example.c, each to a temporary name first."""
    target = Path(path)
    if target.suffix != ".c":
        raise ValueError(f"a native program is exported to a file whose name ends with .c, not {target.name!r}")
    stem = target.stem
    texts = {target: _source(executable, stem), target.with_suffix(".h"): _header(executable, stem),
             target.with_name(stem + "_example.c"): _example(executable, stem)}
    for file, text in texts.items():
        scratch = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            scratch.write_text(text)
            os.replace(scratch, file)
        finally:
            scratch.unlink(missing_ok=True)


# What may not name an argument: words of C, and what the files use.
_RESERVED = set(re.findall(r"\w+", """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof
    i p w workspace failed main calloc malloc free printf fprintf stderr aligned_alloc memset memcpy NAN INFINITY NULL
    linux unix fmod""")) | {*VECTOR_MATH}


def _arguments(executable: Any) -> list[tuple[str, str, Var, str]]:
    """C declaration, name, variable and what it is, for each argument of the exported function."""
    program, names = executable.program, executable.program.names()
    updated = {var for var, _ in program.updates}
    taken = set(_RESERVED)

    def named(text: str) -> str:
        name = re.sub(r"\W", "", text) or "x"
        name = name if name[0].isalpha() else f"x{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    arguments = []
    for var in program.inputs:
        name = named(names[var])
        arguments.append((f"{C_TYPES[var.dtype]} {name}" if var.weak else f"const {C_TYPES[var.dtype]} *{name}", name,
                          var, "a number" if var.weak else "input"))
    for var in program.states:
        name = named(names[var])
        const = "" if var in updated else "const "
        arguments.append((f"{const}{C_TYPES[var.dtype]} *{name}", name, var,
                          "updated in place" if var in updated else "input"))
    for n, var in enumerate(program.outputs):
        name = named("out_" + (var.name or str(n)))
        arguments.append((f"{C_TYPES[var.dtype]} *{name}", name, var, "output"))
    return arguments


def _declaration(executable: Any) -> str:
    declared = [declaration for declaration, *_ in _arguments(executable)]
    return f"int {executable.symbol}({_wrapped(', '.join([*declared, 'void *workspace']))})"


def _header(executable: Any, stem: str) -> str:
    guard, size = executable.symbol.upper() + "_H", executable.symbol.upper() + "_WORKSPACE"
    lines = []
    for _, name, var, kind in _arguments(executable):
        lines.append(f" * {name}: {kind}, {var.shape} {var.dtype}{', row by row' * (var.ndim > 1)}")
    return "\n".join([
        f"#ifndef {guard}", f"#define {guard}", "#include <stdint.h>", "",
        "/* Bytes of scratch memory that a call needs, aligned to 64; one for each thread that calls. */",
        f"#define {size} {max(executable.workspace, 64)}", "",
        "/* Returns 0; or the number of a check that failed (labels out of range), with nothing updated.", " *",
        *lines, " */", f"{_declaration(executable)};", "#endif", ""])


def _source(executable: Any, stem: str) -> str:
    text: str = executable.source
    name = executable.symbol
    for c, t in (("d", "double"), ("s", "float")):
        text = text.replace(f"gemm{c} *{name}_gemm{c};\n", _GEMM.format(c=c, t=t, name=name))
    text = text.replace(f"int {name}(", f"static int {name}_steps(")
    program, constants = executable.program, []
    for n, array in enumerate(executable.constants):
        values = ", ".join(number(x, array.dtype) for x in array.ravel().tolist()) or "0"
        constants.append(f"static const {C_TYPES[array.dtype]} constant{n}[] = {{{_wrapped(values)}}};")
    arguments = _arguments(executable)
    given = [("&" if var.weak and kind == "a number" else "(void *)") + name for _, name, var, kind in arguments]
    first = len(program.inputs) + len(program.states)
    pointers = [*given[:first], *[f"(void *)constant{n}" for n in range(len(constants))], *given[first:]]
    return "\n".join([f'#include "{stem}.h"', text, *constants, "", _declaration(executable), "{",
                      f"    void *const p[] = {{{_wrapped(', '.join(pointers)) or '0'}}};",
                      f"    return {name}_steps(p, workspace);", "}", ""])


def _example(executable: Any, stem: str) -> str:
    lines = [f"/* cc -O2 -march=native -fopenmp-simd {stem}.c {stem}_example.c -lm -o {stem} */",
             f'#include "{stem}.h"', "#include <stdio.h>", "#include <stdlib.h>", "", "int main(void)", "{"]
    calls = []
    for _, name, var, kind in _arguments(executable):
        ctype = C_TYPES[var.dtype]
        if kind == "a number":
            lines.append(f"    {ctype} {name} = {number(0.01 if var.dtype.kind == 'f' else 1, var.dtype)};")
        else:
            value = "0" if kind == "output" or var.dtype.kind != "f" else "0.01 * (i % 100) - 0.5"
            lines += [f"    {ctype} *{name} = calloc({max(var.nbytes, 1)}, 1);",
                      f"    for (long i = 0; i < {var.size}; i++) {name}[i] = {value};"]
        calls.append(name)
    size = executable.symbol.upper() + "_WORKSPACE"
    lines += [f"    void *workspace = aligned_alloc(64, ({size} + 63) / 64 * 64);",
              f"    int failed = {executable.symbol}({', '.join(calls)}, workspace);",
              '    if (failed) { fprintf(stderr, "check %d failed\\n", failed); return 1; }']
    lines += [f'    printf("{name}[0] = %.17g\\n", (double){name}[0]);'
              for _, name, var, kind in _arguments(executable) if kind == "output" and var.size]
    lines += [f"    free({name});" for _, name, _, kind in _arguments(executable) if kind != "a number"]
    return "\n".join([*lines, "    free(workspace);", "    return 0;", "}", ""])


def _wrapped(text: str) -> str:
    import textwrap

    return text if len(text) < 90 else "\n    " + "\n    ".join(textwrap.wrap(text, 110, break_long_words=False))
