"""The examples in a document run: each ```python block is executed, each ```pycon block is a doctest, and so is each
```console block, of `tinygraph` commands.

The blocks of one file are one program, in reading order. There is no way to skip a block: what cannot run is no
example. The tests run them, and so does whoever builds the site, which shows the pictures that they save.
"""

import contextlib
import doctest
import io
import re
import shlex
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"\s*(?P<ticks>```+|~~~+)\s*(?P<language>[^`]*?)\s*")


class ExampleError(Exception):
    """An example that does not run, or prints something else: where, and what happened."""


class Block(NamedTuple):
    """One fenced block: its language, its text, and the number of its first line in the document."""

    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    """The fenced blocks of a Markdown document, in order. Raises ValueError for a fence that is never closed."""
    found = []
    opening = None
    for number, line in enumerate(document.splitlines(), start=1):
        fence = FENCE.fullmatch(line)
        if opening is None:
            if fence:
                opening, body, first = fence, [], number + 1
        elif fence and not fence["language"] and fence["ticks"].startswith(opening["ticks"]):
            indent = len(opening[0]) - len(opening[0].lstrip())
            found.append(Block(opening["language"], "\n".join(text[indent:] for text in body) + "\n", first))
            opening = None
        else:
            body.append(line)
    if opening:
        raise ValueError(f"line {first - 1}: this fence is never closed")
    return found


def run_python(block: Block, name: str, filename: str, namespace: dict) -> None:
    """Runs a block as part of the program in `namespace`; fails with the line of the document that raised."""
    source = "\n" * (block.line - 1) + block.text       # so that tracebacks count lines as the document does
    try:
        exec(compile(source, filename, "exec"), namespace)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
        line = lines[-1] if lines else getattr(error, "lineno", block.line)
        trace = "".join(traceback.format_exception(error))
        raise ExampleError(f"{name}:{line}: this example raises\n\n{trace}") from None


def run_session(block: Block, name: str, filename: str, namespace: dict) -> None:
    """Runs an interactive session as part of the program in `namespace`; fails if it prints anything else."""
    test = doctest.DocTestParser().get_doctest(block.text, {}, name, filename, block.line - 1)
    if not test.examples:
        raise ExampleError(f"{name}:{block.line}: this session has no >>> line")
    test.globs = namespace
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    if runner.run(test, out=report.append, clear_globs=False).failed:
        raise ExampleError(f"{name}:{block.line}: this session prints something else\n\n{''.join(report)}")


def run_commands(block: Block, name: str, filename: str, namespace: dict) -> None:
    """Runs the `$ tinygraph ...` lines of a block; fails if one prints something else or its exit code is not shown.

    What is printed on stderr comes where it is printed. A code other than 0 must be asked for: `$ echo $?`.
    """
    from tinygraph.cli import main

    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    first, *examples = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if first.strip() or not examples:
        raise ExampleError(f"{name}:{block.line}: a console block begins with a line `$ tinygraph ...`")
    code, line = 0, block.line
    for example in examples:
        command, _, expected = example.replace("\\\n", "").partition("\n")
        printed = io.StringIO()
        program, *arguments = shlex.split(command)
        if command == "echo $?":
            printed.write(f"{code}\n")
            code = 0
        elif code or program != "tinygraph":
            raise ExampleError(f"{name}:{line}: " + (f"the command before this ended with exit code {code}" if code else
                                                     f"only tinygraph can be run, not {program}"))
        else:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                try:
                    code = main(arguments)
                except SystemExit as error:
                    code = error.code
        if not checker.check_output(expected, printed.getvalue(), flags):
            raise ExampleError(f"{name}:{line}: this command prints something else: {command}\n\n{printed.getvalue()}")
        line += example.count("\n")
    if code:
        raise ExampleError(f"{name}:{line}: the last command ended with exit code {code}")


RUN = {"python": run_python, "pycon": run_session, "console": run_commands}


def run(document: Path, folder: Path) -> None:
    """Runs the examples of a document in that folder, which is made. Raises ExampleError for one that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    name, namespace = document.relative_to(ROOT).as_posix(), {"__name__": "example"}
    with contextlib.chdir(folder):
        for block in blocks(document.read_text(encoding="utf-8")):
            if block.language in RUN:
                RUN[block.language](block, name, str(document), namespace)
            elif block.language.lower().startswith(("py", "ipython")):
                raise ExampleError(f"{name}:{block.line}: a block is `python` or `pycon`, not `{block.language}`")


LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^]]*)\]\((?P<target>[^)#:\s]+\.\w+)\)")  # to a file
