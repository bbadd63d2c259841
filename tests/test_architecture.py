"""Rules that hold between files: what stages depend on, what is imported where, what is declared and pinned."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from cgn import config, schemas
from cgn.contracts import Factors
from cgn.data import DATASETS
from cgn.generators import GENERATORS
from cgn.mnist import ENVIRONMENTS

ROOT = Path(__file__).parent.parent
OURS = ("cgn", "stages", "flows")
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    try:
        return grimp.build_graph(*OURS, cache_dir=None)
    finally:
        sys.path[:] = before


def file_of(module: str) -> str:
    """The module's file, relative to the project."""
    path = Path(*module.split("."))
    return str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))


def files_used(graph: grimp.ImportGraph, stage: str) -> set[str]:
    """Source files behind a stage's command, and the package data that they name."""
    found = re.match(r"python -m (stages\.\w+) ", STAGES[stage]["cmd"])
    assert found, f"{stage}: the command starts no stage"
    modules = {found[1], *graph.find_upstream_modules(found[1])}
    files = {file_of(module) for module in modules}
    for file in list(files):
        text = (ROOT / file).read_text(encoding="utf-8")
        beside = (ROOT / file).parent.glob("*.j2")
        files |= {str(data.relative_to(ROOT)) for data in beside if data.name in text}
    return files


# What can refuse to start a stage, and never change what it writes: a stage's params say what of params.yaml it uses.
ONLY_REFUSE = {"cgn/config.py", "cgn/errors.py", "cgn/yaml_files.py"}


def code_deps(stage: str) -> set[str]:
    return {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in OURS}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports(imports: grimp.ImportGraph, stage: str) -> None:
    deps = code_deps(stage)
    needed = files_used(imports, stage) - {"cgn/__init__.py", "stages/__init__.py"}
    needed -= ONLY_REFUSE if stage != "check" else set()
    missing = {file for file in needed if file not in deps and not any(file.startswith(f"{dep}/") for dep in deps)}
    assert missing == set()


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "check"])
def test_a_stage_does_not_rerun_because_params_yaml_is_checked_otherwise(stage: str) -> None:
    assert code_deps(stage) & ONLY_REFUSE == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_import(imports: grimp.ImportGraph, stage: str) -> None:
    used = files_used(imports, stage)
    unused = {dep for dep in code_deps(stage) if dep not in used and not any(f.startswith(f"{dep}/") for f in used)}
    assert unused == set()


def test_every_stage_module_is_run_by_the_pipeline() -> None:
    run = {re.findall(r"stages\.(\w+)", stage["cmd"])[0] for stage in STAGES.values()}
    programs = {path.stem for path in (ROOT / "stages").glob("*.py") if "run(main)" in path.read_text(encoding="utf-8")}
    assert run == programs


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
