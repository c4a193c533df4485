"""The package as a whole: its ways in, its public names, what its import costs, and the rules of the house."""

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import tinygraph as tg

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinygraph"
MODULES = {path.relative_to(ROOT): path for path in sorted(PACKAGE.rglob("*.py"))}

# Who may import whom, the lowest layer first: a module imports from its own layer and from lower ones. The name of a
# package stands for all that is in it; "__init__" is `import tinygraph` itself.
LAYERS = [
    {"byhand"},         # an oracle: it leans on nothing that it is there to check
    {"callers", "files", "pages"},
    {"node"},
    {"definition", "structure"},
    {"states"},
    {"op"},
    {"printing"},
    {"tape"},
    {"ops"},
    {"batching", "random", "scipy"},
    {"recording"},
    {"calculus"},
    {"detect"},
    {"compile"},
    {"mapping"},
    {"control"},
    {"testing"},
    {"nn", "optim", "optimize"},
    {"by_name", "classifier"},
    {"checkpoints", "data", "derivation", "drawing", "sklearn", "training"},
    {"__init__"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

TOP_LEVEL = {"setup.cfg", "setup.py", "tinygraph", "tests", "docs", "README.md", "LICENSE", "CHANGELOG.md"}


def run_python(*arguments: str) -> str:
    """What `python *arguments` prints, run in the checkout. A run that fails shows what it wrote to stderr."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- ways in


def test_version_option():
    assert run_python("-m", "tinygraph", "--version").split() == ["tinygraph", tg.__version__]


def test_help_option():
    text = run_python("-m", "tinygraph", "--help")
    assert text.startswith("usage: tinygraph ")
    assert "demo" in text


def test_installed_metadata():
    """Also catches the other project of that name being installed in place of this one."""
    distribution = importlib.metadata.distribution("tinygraph")
    assert distribution.version == tg.__version__
    (script,) = distribution.entry_points.select(group="console_scripts")
    assert (script.name, script.load()) == ("tinygraph", importlib.import_module("tinygraph.cli").main)


def test_version_can_be_read_without_importing():
    """A build reads it in an environment without numpy."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assigned = [statement for statement in tree.body if isinstance(statement, ast.Assign)]
    (value,) = [each.value for each in assigned if ast.unparse(each.targets[0]) == "__version__"]
    assert ast.literal_eval(value) == tg.__version__


def test_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_readme_has_exactly_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", readme, flags=re.DOTALL | re.MULTILINE)
    assert {language for language, _ in fenced} <= {"python", "pycon", "sh"}
    demo, tests = [text for language, text in fenced if language == "sh"]
    for command in (demo, tests):
        assert command.startswith("python3 -m venv .venv && ")
        assert command.count("\n") == 1
    assert demo.endswith(".venv/bin/tinygraph demo\n")
    assert tests.endswith(".venv/bin/python -m pytest\n")


# ---- public names


def test_all_is_sorted_and_complete():
    public = {name for name, value in vars(tg).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert list(tg.__all__) == sorted(set(tg.__all__))
    assert public <= set(tg.__all__)
    for name in tg.__all__:
        assert hasattr(tg, name), name


@pytest.mark.parametrize("name", tg.__all__)
def test_public_name_is_documented(name):
    value = getattr(tg, name)
    if inspect.ismodule(value) or inspect.isclass(value) or callable(value):
        assert (value.__doc__ or "").strip(), f"tinygraph.{name} has no docstring"


# ---- the cost of importing


def test_import_brings_numpy_alone():
    """scipy is imported on first use, and so is what an extra brings."""
    loaded = run_python("-c", "import sys, tinygraph; print(*sys.modules)").split()
    assert "numpy" in loaded
    assert {"scipy", "matplotlib", "sklearn", "tqdm", "jax", "torch"}.isdisjoint(loaded)


# ---- the rules of the house


def component(module: str) -> str:
    """The name in LAYERS that a dotted module of the package belongs to."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """The dotted names inside the package that a module imports, wherever in the module it does."""
    package = ".".join(path.relative_to(root).parent.parts)
    found = set()
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
            # `from . import tape` names a module; `from tinygraph import Node` names the package itself.
            members = [f"{source}.{alias.name}" for alias in statement.names]
            found.update(member if is_module(member, root) else source for member in members)
    return {name for name in found if name.partition(".")[0] == "tinygraph"}


def is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def code_lines(path: Path) -> int:
    """The lines of a module that hold code: blank lines, comments and docstrings do not count."""
    source = path.read_text(encoding="utf-8")
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for definition in ast.walk(ast.parse(source)):
        if isinstance(definition, documented) and ast.get_docstring(definition, clean=False) is not None:
            docstring = definition.body[0]
            lines.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def project_files() -> list[Path]:
    """The files of the project, new ones included. Where git cannot tell, the folders and files that it may hold."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git"):
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if listing.returncode == 0:
            return [Path(name) for name in listing.stdout.split("\0") if (ROOT / name).is_file()]
    allowed = [ROOT / name for name in TOP_LEVEL]
    return [path.relative_to(ROOT) for top in allowed for path in [top, *top.rglob("*")] if path.is_file()]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_import_points_upwards(module):
    own = component(".".join(module.with_suffix("").parts))
    for name in imports(MODULES[module]):
        other = component(name)
        for known in (own, other):
            assert known in RANK, f"say in LAYERS of {__name__} where tinygraph.{known} belongs"
        assert RANK[other] <= RANK[own], f"{module} imports {name}, which is in a higher layer"


def test_core_can_be_read_at_one_sitting():
    lines = {name: code_lines(PACKAGE / f"{name}.py") for name in ("node", "op", "tape")}
    assert sum(lines.values()) <= 700, lines


def test_top_level_holds_nothing_else():
    top = {path.parts[0] for path in project_files()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_no_path_of_a_machine():
    somewhere = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|tmp|opt|srv|mnt)/[\w.-]+")
    for path in project_files():
        found = somewhere.search((ROOT / path).read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path} holds {found.group()}, a path of one machine"


def test_code_lines_leaves_out_what_is_not_code(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""A\n\nB"""\n\nimport os  # why\n# no\n\n'
        'def f(\n    x,\n):\n    """Doc."""\n    return """a\n\nb"""\n'
    )
    assert code_lines(path) == 1 + 3 + 3


def test_imports_finds_every_form(tmp_path):
    path = tmp_path / "tinygraph" / "ops" / "new.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "tinygraph" / "tape.py").touch()
    path.write_text(
        "import numpy, tinygraph.node\nfrom .. import tape, Node\nfrom ..op import Op\n"
        "from . import arithmetic\ndef f():\n    import tinygraph as tg\n"
    )
    names = {"tinygraph", "tinygraph.node", "tinygraph.op", "tinygraph.ops", "tinygraph.tape"}
    assert imports(path, tmp_path) == names
    assert {component(name) for name in names} == {"__init__", "node", "op", "ops", "tape"}
