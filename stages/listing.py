"""The code behind a program of the pipeline: the modules that it imports, each with a digest of what it does."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cgn.errors import InputError
from cgn.files import sha256

ROOT = Path(__file__).parent.parent
PACKAGES = ("cgn", "stages")
# What can refuse to start a stage, and never change what it writes: a stage's params say what of params.yaml it uses.
_ONLY_REFUSE = frozenset({"cgn/errors.py", "cgn/yaml_files.py", "stages/listing.py"})
# What shows how a stage goes while it runs, and never changes what it writes; nor does what it imports for that.
ONLY_SHOW = frozenset({"stages/curves.py", "stages/inception_watch.py"})


def only_refuses(file: str) -> bool:
    """Whether a file, by its path from the root on, can only refuse to start a stage."""
    return file in _ONLY_REFUSE or file.startswith("cgn/config/")


def programs() -> list[str]:
    """The names of the modules that stages start, but for the one that writes lists."""
    modules = (ROOT / "stages").glob("*.py")
    return sorted(path.stem for path in modules if path.stem != "code" and "\n    run(main)\n" in _text(path))


def listing(stage: str) -> str:
    """A line per file behind a stage: its digest and its path from the project's root on.

    Raises: InputError where a file is not Python.
    """
    return "".join(f"{digest(ROOT / file)}  {file}\n" for file in files_behind(stage))


def files_behind(stage: str) -> list[str]:
    """The files that decide what a stage writes, from the project's root on: its module and all that it imports, directly or
    not, and the templates beside them.
    """
    shown = {ROOT / file for file in ONLY_SHOW}
    found: set[Path] = set()
    new = {ROOT / "stages" / f"{stage}.py"}
    while new:
        found |= new
        new = {imported for path in new for imported in _imports(path)} - found - shown
    templates = {one for path in found for one in path.parent.glob("*.j2") if one.name in _text(path)}
    files = {path.relative_to(ROOT).as_posix() for path in found | templates}
    return sorted(file for file in files if stage == "check" or not only_refuses(file))


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file; of Python code without its comments, docstrings and layout."""
    if path.suffix != ".py":
        return sha256(path)
    return hashlib.sha256(ast.dump(_tree(path)).encode()).hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    """Leaves out every statement that is a string and nothing more."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    """What a file does: its syntax tree without docstrings."""
    try:
        tree = ast.parse(_text(path))
    except SyntaxError as error:
        raise InputError(f"{path.relative_to(ROOT)}: found no Python in line {error.lineno}: {error.msg}") from error
    _WithoutDocstrings().visit(tree)
    return tree


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The project's files that a module imports by name, inside functions too."""
    names = {name for node in ast.walk(_tree(path)) for name in _names(node)}
    files = {_file(name) for name in names if name.split(".")[0] in PACKAGES}
    return frozenset(file for file in files if file is not None)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            yield name if _file(name) else node.module


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
