"""The examples in the documents run (see tests/documents.py), and what the documents show and link to is there."""


import pytest

from . import pictures
from .documents import DOCUMENTS, LINK, ROOT, RUN, ExampleError, blocks
from .documents import run as run_examples


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_run_and_links_lead_somewhere(document, tmp_path):
    """A picture or a file that a page links to is beside the page, or its examples made it."""
    run_examples(document, tmp_path)
    for link in LINK.finditer(document.read_text(encoding="utf-8")):
        target = link["target"]
        assert (document.parent / target).exists() or (tmp_path / target).is_file(), f"{document.name}: {link[0]}"


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
        ("```console\n$ tinygraph --version\nx\n```\n", r"page\.md:2: this command prints something else: .*\n\ntiny"),
        ("```console\n$ tinygraph info x.csv\n...\n```\n", r"page\.md:4: the last command ended with exit code 2"),
        ("```console\n$ tinygraph info x.csv\n...\n$ echo $?\n0\n```\n", r"page\.md:4: this command prints something"),
        ("```console\n$ rm -r x\n```\n", r"page\.md:2: only tinygraph can be run, not rm"),
        ("```console\ntinygraph info\n```\n", r"page\.md:2: a console block begins with a line"),
    ],
    ids=["raises", "syntax", "session", "no prompt", "output", "code", "wrong code", "other program", "no command"],
)
def test_a_wrong_example_fails_and_says_where(document, message):
    with pytest.raises(ExampleError, match=message):
        run(document)


def test_a_fence_that_is_never_closed_is_an_error():
    with pytest.raises(ValueError, match="line 2"):
        blocks("text\n```python\na = 1\n")


def test_the_picture_of_the_graph_is_the_real_one():
    """tests/pictures.py makes those in docs/pictures; this one is the same each time, and tells if it is old."""
    assert (pictures.FOLDER / "graph.svg").read_text(encoding="utf-8") == pictures.graph().svg


def test_the_printed_source_is_the_real_one():
    """The step in docs/compile.md is what `tg.compile` prints for the code above it."""
    found = blocks((ROOT / "docs" / "compile.md").read_text(encoding="utf-8"))
    namespace: dict = {"__name__": "example"}
    exec(found[0].text, namespace)
    assert found[1].text.strip() == namespace["train"].source.strip()
