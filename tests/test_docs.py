"""The examples in the documents run: each ```python block is executed, each ```pycon block is a doctest.

The blocks of one file are one program, in reading order, in an empty working directory. There is no way to skip a
block: what cannot run is not an example.
"""

import doctest
import re
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"\s*(?P<ticks>```+|~~~+)\s*(?P<language>[^`]*?)\s*")


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
        pytest.fail(f"{name}:{line}: this example raises\n\n{trace}", pytrace=False)


def run_session(block: Block, name: str, filename: str, namespace: dict) -> None:
    """Runs an interactive session as part of the program in `namespace`; fails if it prints anything else."""
    test = doctest.DocTestParser().get_doctest(block.text, {}, name, filename, block.line - 1)
    if not test.examples:
        pytest.fail(f"{name}:{block.line}: this session has no >>> line", pytrace=False)
    test.globs = namespace
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    if runner.run(test, out=report.append, clear_globs=False).failed:
        pytest.fail(f"{name}:{block.line}: this session prints something else\n\n{''.join(report)}", pytrace=False)


RUN = {"python": run_python, "pycon": run_session}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, namespace = document.relative_to(ROOT).as_posix(), {"__name__": "example"}
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.language in RUN:
            RUN[block.language](block, name, str(document), namespace)
        elif block.language.lower().startswith(("py", "ipython")):
            pytest.fail(f"{name}:{block.line}: a block is `python` or `pycon`, not `{block.language}`", pytrace=False)


def run(document: str) -> dict:
    """The namespace that a document leaves behind."""
    namespace = {"__name__": "example"}
    for block in blocks(document):
        RUN[block.language](block, "page.md", "page.md", namespace)
    return namespace


def test_blocks_of_a_document_share_a_namespace():
    first, session = "```python\na = 1\n```\n", "```pycon\n>>> a + 1\n2\n>>> b = a\n```\n"
    indented = "- item\n  ```python\n  c = a + b\n  ```\n"
    assert run(first + "text\n" + session + indented)["c"] == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("text\n\n```python\na = 1\na / 0\n```\n", r"page\.md:5: this example raises(.|\n)*ZeroDivisionError"),
        ("```python\na = 1\nb = (\n```\n", r"page\.md:3: this example raises(.|\n)*SyntaxError"),
        ("```pycon\n>>> 1 + 1\n3\n```\n", r"page\.md:2: this session prints something else(.|\n)*Got:\n +2"),
        ("```pycon\n1 + 1\n```\n", r"page\.md:2: this session has no >>> line"),
    ],
    ids=["raises", "syntax", "session", "no prompt"],
)
def test_a_wrong_example_fails_and_says_where(document, message):
    with pytest.raises(pytest.fail.Exception, match=message):
        run(document)


def test_a_fence_that_is_never_closed_is_an_error():
    with pytest.raises(ValueError, match="line 2"):
        blocks("text\n```python\na = 1\n")


def test_the_printed_source_is_the_real_one():
    """The step in docs/compile.md is what `tg.compile` prints for the code above it."""
    found = blocks((ROOT / "docs" / "compile.md").read_text(encoding="utf-8"))
    namespace: dict = {"__name__": "example"}
    exec(found[0].text, namespace)
    assert found[1].text.strip() == namespace["train"].source.strip()
