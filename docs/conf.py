"""How the site is built: Sphinx reads the Markdown pages of this folder with MyST, and the API from the docstrings.

    python -m sphinx -W --keep-going docs SITE

Each page's examples are run first, as tests/test_docs.py does, in a folder of the page's own: a picture that they save
there under the name by which the page shows it gets into the site, so that no picture is older than the code. Formulas
become MathML, which browsers draw themselves: the site needs no network.
"""

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent)]
os.environ.setdefault("MPLBACKEND", "Agg")

import jupytext  # noqa: E402
import nbformat  # noqa: E402
from docutils.nodes import SkipNode  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402
from nbclient import NotebookClient  # noqa: E402

import tinygraph  # noqa: E402
from tests import documents  # noqa: E402

project = "tinygraph"
author = "the tinygraph developers"
copyright = author
version = release = tinygraph.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
default_role = "code"
html_theme = "furo"
html_title = f"tinygraph {release}"
html_math_renderer = "mathml"
copybutton_prompt_text = ">>> "
copybutton_only_copy_prompt_lines = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
exclude_patterns = ["_build"]
html_css_files = ["style.css"]
html_static_path = ["_static"]


NOTEBOOKS = {"first", "networks", "training"}  # pages that one can also download and run


def run_examples(app, name, source):
    """Runs the examples of a page, and makes its pictures and links lead to what they saved."""
    page = DOCS / f"{name}.md"
    folder = Path(app.outdir) / "made" / name
    shutil.rmtree(folder, ignore_errors=True)  # of the last build
    with contextlib.redirect_stdout(None):
        documents.run(page, folder)
    if name in NOTEBOOKS:
        write_notebook(page, folder / f"{name}.ipynb")
        source[0] += f"\nThis page is also a notebook: [{name}.ipynb]({name}.ipynb).\n"

    def shown(link):
        if not (folder / link["target"]).is_file():
            return link[0]
        if link["picture"]:
            return f"![{link['text']}]({os.path.relpath(folder / link['target'], page.parent)})"
        return f'<a href="made/{name}/{link["target"]}">{link["text"]}</a>'

    source[0] = documents.LINK.sub(shown, source[0])


def write_notebook(page, path):
    """The page as a notebook that was run, so that it shows what its cells printed."""
    notebook = jupytext.read(page)
    notebook.cells = [
        nbformat.v4.new_markdown_cell(f"```sh\n{cell.source.partition(chr(10))[2]}\n```")
        if cell.source.startswith("%%") else cell for cell in notebook.cells]  # a shell's commands, not to be run
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent}}).execute()
    nbformat.write(notebook, path)


def inline(writer, node):
    writer.body.append(convert(node.astext()))
    raise SkipNode


def display(writer, node):
    writer.body.append(convert(node.astext(), display="block"))
    raise SkipNode


NAME = r"(?:[a-z_]\w*|[A-Z])"  # of an argument: lower case, or one letter of the mathematics
MARKUP = re.compile(r"(?<![`\w*])\*{1,2}(?=\w)|\||(?<=\w)_(?!\w|`)")  # what would be some to reStructuredText
ARGUMENT = re.compile(rf"(\*{{0,2}}{NAME}(?:, {NAME})*): (?=\S)")


def as_fields(app, what, name, value, options, lines):
    """Makes a field of each argument that a docstring explains as `name: text`."""
    found, within = [], False
    for line in lines:
        example = line.startswith((">>>", "..."))
        if not example:
            line = MARKUP.sub(lambda found: re.sub(r"(.)", r"\\\1", found[0]), line)
        if match := ARGUMENT.match(line):
            line = f":param {match[1]}: {line[match.end():]}"
        elif within and line and not line.startswith(" "):
            found.append("")
        within = bool(match) or (within and line.startswith(" "))
        found.append(line)
    lines[:] = found


def setup(app):
    app.connect("autodoc-process-docstring", as_fields)
    app.connect("source-read", run_examples)
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
