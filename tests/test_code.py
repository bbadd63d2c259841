"""Facts about the lists of code that stages depend on: complete, exact, and blind to what changes no result."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from stages import code

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
        return grimp.build_graph(*code.PACKAGES, cache_dir=None)
    finally:
        sys.path[:] = before


@pytest.mark.parametrize("stage", code.programs())
def test_a_list_names_all_that_its_stage_imports(imports: grimp.ImportGraph, stage: str) -> None:
    modules = {f"stages.{stage}", *imports.find_upstream_modules(f"stages.{stage}")} - {"cgn", "stages"}
    paths = [Path(*module.split(".")) for module in modules]
    files = {(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix() for path in paths}
    files -= code.ONLY_REFUSE if stage != "check" else set()
    listed = set(code.files_behind(stage)) - {"cgn/__init__.py"}
    assert {file for file in listed if file.endswith(".py")} == files
    assert ("cgn/evaluation/report.html.j2" in listed) == (stage == "report")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "code"])
def test_a_stage_depends_on_the_list_of_the_program_that_it_starts(stage: str) -> None:
    found = re.match(r"python -m stages\.(\w+) ", STAGES[stage]["cmd"])
    assert found, f"{stage}: the command starts no stage"
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/code", "cgn", "stages", "flows"))]
    assert deps == [f"data/code/{found[1]}"]


def test_the_lists_are_those_of_every_program() -> None:
    assert STAGES["code"]["outs"] == [f"data/code/{name}" for name in code.programs()]
    assert STAGES["code"]["deps"] == [*code.PACKAGES]
    run = {re.findall(r"stages\.(\w+)", stage["cmd"])[0] for stage in STAGES.values()}
    assert run == {"code", *code.programs()}


def test_every_list_is_written_the_same_way_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        code.main(["--out", str(tmp_path / name)])
    lists = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(lists) == {*code.programs()}
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
        ('"""In square units."""\n        return', 'return """In square units."""\n        return', False),
    ],
)
def test_a_digest_is_of_what_is_computed(tmp_path: Path, found: str, replacement: str, same: bool) -> None:
    (tmp_path / "before.py").write_text(BEFORE)
    assert BEFORE.count(found) == 1
    (tmp_path / "after.py").write_text(BEFORE.replace(found, replacement))
    assert (code.digest(tmp_path / "before.py") == code.digest(tmp_path / "after.py")) == same


def test_a_digest_of_a_template_is_of_its_bytes(tmp_path: Path) -> None:
    template = ROOT / "cgn" / "evaluation" / "report.html.j2"
    shutil.copy(template, tmp_path / "same.j2")
    (tmp_path / "other.j2").write_text(template.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert code.digest(tmp_path / "same.j2") == code.digest(template) != code.digest(tmp_path / "other.j2")
