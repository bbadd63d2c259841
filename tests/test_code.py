"""Facts about the lists of code that stages depend on: complete, exact, and blind to what changes no result."""

import ast
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from cgn.errors import InputError
from stages import code, listing
from stages.common import check_code

ROOT = Path(__file__).parent.parent
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
BEFORE = '''"""What it is."""
import math  # for pi


class Circle:
    """A circle."""

    def area(self, radius: float) -> float:
        """In square units."""
        return math.pi * radius**2
'''


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    try:
        graph = grimp.build_graph(*listing.PACKAGES, cache_dir=None)
        for file in listing.ONLY_SHOW:
            graph.remove_module(file.removesuffix(".py").replace("/", "."))
        return graph
    finally:
        sys.path[:] = before


@pytest.mark.parametrize("stage", listing.programs())
def test_a_list_names_all_that_its_stage_imports(imports: grimp.ImportGraph, stage: str) -> None:
    modules = {f"stages.{stage}", *imports.find_upstream_modules(f"stages.{stage}")} - {"cgn", "stages"}
    paths = [Path(*module.split(".")) for module in modules]
    files = {(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix() for path in paths}
    files = {file for file in files if stage == "check" or not listing.only_refuses(file)}
    listed = set(listing.files_behind(stage)) - {"cgn/__init__.py"}
    assert {file for file in listed if file.endswith(".py")} == files
    assert ("cgn/evaluation/report.html.j2" in listed) == (stage == "report")


def test_what_only_shows_how_a_training_goes_makes_nothing_anew() -> None:
    behind = set(listing.files_behind("train_imagenet"))
    assert not behind & {*listing.ONLY_SHOW, "cgn/models/inception.py", "cgn/evaluation/image_quality.py"}
    assert {"cgn/generators/imagenet_training.py", "stages/train_imagenet.py"} <= behind


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "code"])
def test_a_stage_depends_on_the_list_of_the_program_that_it_starts(stage: str) -> None:
    found = re.match(r"python -m stages\.(\w+) ", STAGES[stage]["cmd"])
    assert found, f"{stage}: the command starts no stage"
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/code", "cgn", "stages", "flows"))]
    assert deps == [f"data/code/{found[1]}"]


def test_the_lists_are_those_of_every_program() -> None:
    assert STAGES["code"]["outs"] == [f"data/code/{name}" for name in listing.programs()]
    assert STAGES["code"]["deps"] == [*listing.PACKAGES]
    run = {re.findall(r"stages\.(\w+)", stage["cmd"])[0] for stage in STAGES.values()}
    assert run == {"code", *listing.programs()}


def test_every_list_is_written_the_same_way_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        code.main(["--out", str(tmp_path / name)])
    lists = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(lists) == {*listing.programs()}
    assert lists == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert re.fullmatch(r"([0-9a-f]{64}  \S+\n)+", lists["score"].decode())


@pytest.mark.parametrize(
    ("found", "replacement", "same"),
    [
        ("  # for pi", "  # for the area", True),
        ("What it is.", "What a circle is.", True),
        ('    """A circle."""\n\n', "", True),
        ("In square units.", "Of a radius.", True),
        ("math.pi * radius**2", "(math.pi  *  radius ** 2)", True),
        ("radius**2", "radius**3", False),
        ("radius: float", "radius: float = 1", False),
        ("import math", 'PI = 3\n"""What a circle needs."""\nimport math', False),
        ("# for pi", "# for pi\n'a string alone'", True),
        ('"""In square units."""\n        return', 'return """In square units."""\n        return', False),
    ],
)
def test_a_digest_is_of_what_is_computed(tmp_path: Path, found: str, replacement: str, same: bool) -> None:
    (tmp_path / "before.py").write_text(BEFORE)
    assert BEFORE.count(found) == 1
    (tmp_path / "after.py").write_text(BEFORE.replace(found, replacement))
    assert (listing.digest(tmp_path / "before.py") == listing.digest(tmp_path / "after.py")) == same


def test_a_digest_of_a_template_is_of_its_bytes(tmp_path: Path) -> None:
    template = ROOT / "cgn" / "evaluation" / "report.html.j2"
    shutil.copy(template, tmp_path / "same.j2")
    (tmp_path / "other.j2").write_text(template.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert listing.digest(tmp_path / "same.j2") == listing.digest(template) != listing.digest(tmp_path / "other.j2")


def test_a_file_that_is_not_python_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    (tmp_path / "stages" / "score.py").write_text("def half(:\n")
    monkeypatch.setattr(listing, "ROOT", tmp_path)
    with pytest.raises(InputError, match=r"stages/score\.py: found no Python in line 1"):
        listing.listing("score")


def test_a_stage_whose_code_is_no_longer_what_was_listed_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    program = find_spec("stages.score")
    check_code(program)  # nothing is listed: started by hand
    code.main(["--out", "data/code"])
    check_code(program)
    Path("data/code/score").write_text(listing.listing("score").replace("a", "b", 1))
    with pytest.raises(InputError, match=r"data/code/score: .* run `dvc repro code`"):
        check_code(program)
    check_code(find_spec("stages.predict"))


def test_what_lists_do_not_see_computes_nothing() -> None:
    """Packages run their own __init__, and a name that is put together escapes the search for imports."""
    harmless = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef)
    for package in listing.PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"importlib\.import_module|__import__|(?<![.\w])(exec|eval)\(", text), path
            if path.name == "__init__.py":
                tree = ast.parse(text)
                assert ast.get_docstring(tree), path
                assert all(isinstance(one, harmless) for one in tree.body[1:]), path
