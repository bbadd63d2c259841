"""List the code behind every stage: the modules that it imports, each with a digest of what it does.

A stage depends on its list in place of files. So a change reruns the stages that import it and no others, comments, docstrings
and layout rerun nothing, a new import needs no line in dvc.yaml, and dvc.lock, which DVC writes anew after every stage,
holds one hash per stage instead of one per file.
"""

import argparse
import ast
import hashlib
import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cgn.files import replacing_file, sha256
from stages.common import Argv, parser, run

log = logging.getLogger(__name__)

ROOT = Path(__file__).parent.parent
PACKAGES = ("cgn", "stages")
# What can refuse to start a stage, and never change what it writes: a stage's params say what of params.yaml it uses.
ONLY_REFUSE = frozenset({"cgn/config.py", "cgn/errors.py", "cgn/yaml_files.py"})


def parse(argv: Argv) -> argparse.Namespace:
    """The command line's options."""
    options = parser(__doc__)
    options.add_argument("--out", required=True, type=Path)
    return options.parse_args(argv)


def main(argv: Argv = None) -> None:
    """Write one list per stage."""
    args = parse(argv)
    for stage in programs():
        with replacing_file(args.out / stage) as beside:
            beside.write_text("".join(f"{digest(ROOT / file)}  {file}\n" for file in files_behind(stage)))


def programs() -> list[str]:
    """The names of the modules that stages start, this one aside."""
    modules = (ROOT / "stages").glob("*.py")
    return sorted(path.stem for path in modules if path != Path(__file__) and "run(main)" in _text(path))


def files_behind(stage: str) -> list[str]:
    """The files that decide what a stage writes, from the project's root on: its module and all that it imports, directly or
    not, and the templates beside them.
    """
    found: set[Path] = set()
    new = {ROOT / "stages" / f"{stage}.py"}
    while new:
        found |= new
        new = {imported for path in new for imported in _imports(path)} - found
    templates = {one for path in found for one in path.parent.glob("*.j2") if one.name in _text(path)}
    files = {path.relative_to(ROOT).as_posix() for path in found | templates}
    return sorted(files if stage == "check" else files - ONLY_REFUSE)


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file; of Python code without its comments, docstrings and layout."""
    if path.suffix != ".py":
        return sha256(path)
    tree = ast.parse(_text(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The project's files that a module imports by name, inside functions too."""
    names = {name for node in ast.walk(ast.parse(_text(path))) for name in _names(node)}
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


if __name__ == "__main__":
    run(main)
