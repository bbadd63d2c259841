"""Rules that hold between files: what is imported where, what is declared and pinned."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cgn import config, schemas
from cgn.contracts import Factors
from cgn.data import DATASETS
from cgn.generators import GENERATORS
from cgn.mnist import ENVIRONMENTS

ROOT = Path(__file__).parent.parent
OURS = ("cgn", "stages", "flows")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and dotted name of every import in a file, those inside functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [(node.lineno, node.module), *((node.lineno, f"{node.module}.{a.name}") for a in node.names)]
    return sorted(names)


def test_torchvision_is_imported_only_after_the_module_that_makes_it_importable() -> None:
    for path in (*SOURCES, *(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")):
        lines = imported(path)
        first = [line for line, name in lines if name.split(".")[0] == "torchvision"]
        mended = [line for line, name in lines if name == "cgn.torchvision_ops"]
        assert not first or (mended and mended[0] < first[0]), f"{path}: import cgn.torchvision_ops before torchvision"


def declared() -> list[Requirement]:
    return [Requirement(text) for text in PYPROJECT["dependencies"]]


def test_every_third_party_import_is_declared() -> None:
    names = {canonicalize_name(requirement.name) for requirement in declared()}
    distributions = packages_distributions()
    for path in SOURCES:
        for line, module in imported(path):
            top = module.split(".")[0]
            if top in OURS or top in sys.stdlib_module_names:
                continue
            offered = {canonicalize_name(name) for name in distributions.get(top, [])}
            assert offered & names, f"{path}:{line}: {top} is not among pyproject's dependencies"


def test_every_dependency_is_pinned_to_a_version_that_pyproject_allows() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    pins = {}
    for requirement in locked:
        (exact,) = requirement.specifier
        assert exact.operator == "==", f"{requirement}: expected one exact version"
        pins[canonicalize_name(requirement.name)] = exact.version
    extras = [Requirement(text) for texts in PYPROJECT["optional-dependencies"].values() for text in texts]
    for requirement in (*declared(), *extras):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement}: requirements.lock has {version}"


def test_no_file_holds_an_absolute_path_of_a_machine() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    pattern = re.compile(r"(?<![\w.}~])/(?:work|root|home/\w+|Users/\w+)(?:/|\b)")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if name.startswith("data/") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = pattern.search(text)
        assert found is None, f"{name} holds {found[0]!r}" if found else ""


def recipes() -> set[str]:
    """The recipe of every section that a generator may have."""
    union = get_args(config.GeneratorConfig)[0]
    members = get_args(union) or (union,)
    return {name for member in members for name in get_args(member.model_fields["recipe"].annotation)}


def test_the_names_that_the_configuration_allows_are_those_of_the_registries() -> None:
    assert set(get_args(config.DatasetName)) == set(DATASETS) == set(config.Datasets.model_fields)
    assert recipes() == set(GENERATORS)
    assert set(get_args(config.EnvironmentName)) == set(ENVIRONMENTS)
    assert get_args(config.FactorName) == Factors._fields == schemas.FACTORS
