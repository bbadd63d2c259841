"""Which stages `dvc repro` runs again: the project's own dvc.yaml, with stand-ins for the stages' programs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from isolation import ROOT, own_settings
from ruamel.yaml import YAML

# Named `python` and first on the PATH: writes each output from all inputs, and from the data set's section where one is
# built, so that an output changes exactly when what the stage is given changes.
STAND_IN = f"""#!{sys.executable}
import hashlib, os, pathlib, sys
if sys.argv[2] == "stages.code":
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
module, options = sys.argv[2], dict(zip(sys.argv[3::2], sys.argv[4::2]))
digest = hashlib.sha256(module.encode())
outs = [name for name in ("--out", "--record", "--metrics") if name in options]
inputs = {{"stages.illustrate": "--record", "stages.measure": "--record", "stages.report": "--metrics"}}
outs = [name for name in outs if inputs.get(module) != name]
if module == "stages.build_dataset":
    outs.append("--environments")
    lines = pathlib.Path("params.yaml").read_text().split("generator:")[0].split("  " + options["--dataset"] + ":")
    digest.update(lines[1].split("correlation")[0].encode())
for name, value in sorted(options.items()):
    digest.update(f"{{name}}={{value}}".encode())
    path = pathlib.Path(value)
    if name not in outs and "/" in value:
        for file in sorted([path, *path.rglob("*")]) if path.exists() else []:
            digest.update(file.read_bytes() if file.is_file() else b"")
for name in outs:
    if name == "--environments":
        digest.update(pathlib.Path("params.yaml").read_text().split("environments: [")[1].split("]")[0].encode())
    out = pathlib.Path(options[name])
    if out.suffix or out.name == "params-checked":
        out.parent.mkdir(parents=True, exist_ok=True)
    else:
        out.mkdir(parents=True)
        out = out / "content"
    out.write_text('{{"digest": "%s"}}' % (digest.hexdigest() if module != "stages.check" else ""))
"""


class Repository:
    """A copy of the project's pipeline with two data sets, and one of everything that is made for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.folder.mkdir()
        for name in ("cgn", "stages", ".dvc/config", "dvc.yaml", "params.yaml"):
            target = self.folder / name
            target.parent.mkdir(exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, target)
        for found, kept in (
            ("datasets_run: [colored, double_colored, wildlife]", "datasets_run: [colored, double_colored]"),
            ("classifiers: [original, oracle]", "classifiers: [original]"),
            ("mixes: [cf_only, original_cf]", "mixes: [original_cf]"),
            ("no_binary, no_border, no_similarity, no_redressing, drawn_shapes, ssim]", "no_binary]"),
        ):
            self.edit(found, kept)
        programs = folder / "programs"
        programs.mkdir()
        (programs / "python").write_text(STAND_IN)
        (programs / "python").chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, **own_settings(folder), "PATH": path}
        subprocess.run(["git", "init", "--quiet"], cwd=self.folder, env=self.environment, check=True)

    def edit(self, found: str, replacement: str, file: str = "params.yaml") -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(found) == 1, found
        path.write_text(text.replace(found, replacement))

    def repro(self) -> tuple[set[str], set[str]]:
        """The stages that ran, and those that came from the run cache."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ran = set(re.findall(r"Running stage '([^']+)'", done.stdout))
        return ran, set(re.findall(r"Stage '([^']+)' is cached", done.stdout))

    def stages(self) -> set[str]:
        listed = subprocess.run(
            [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(listed.stdout.split())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Every stage has run once."""
    repository = Repository(tmp_path_factory.mktemp("rerun"))
    ran, _ = repository.repro()
    assert ran == repository.stages()
    return repository


def test_nothing_runs_where_nothing_changed(repository: Repository) -> None:
    assert repository.repro() == (set(), set())


def test_a_changed_colour_deviation_reruns_its_branch_and_the_report_and_going_back_runs_nothing(
    repository: Repository,
) -> None:
    before, after = "color_std: 0.01 ", "color_std: 0.02 "
    branch = {name for name in repository.stages() if re.search(r"@\w+-double_colored\b", name)}
    assert {name.split("@")[0] for name in branch} == {
        "build_dataset",
        "train_generator",
        "generate",
        "train_classifier",
        "train_classifier_with",
        "predict",
        "predict_with",
        "score",
        "score_with",
        "train_judges",
        "measure",
        "explain",
        "illustrate",
    }
    lock = (repository.folder / "dvc.lock").read_bytes()
    repository.edit(before, after)
    assert repository.repro() == ({"check", "report@demo", *branch}, set())
    repository.edit(after, before)
    ran, cached = repository.repro()
    assert ran == set()
    assert cached == {"check", "report@demo", *branch}
    assert (repository.folder / "dvc.lock").read_bytes() == lock


def test_a_runtime_setting_reruns_the_check_alone(repository: Repository) -> None:
    repository.edit("generate_workers: 2", "generate_workers: 1")
    assert repository.repro() == ({"check"}, set())


def test_changed_code_reruns_what_imports_it_and_words_about_it_nothing(repository: Repository) -> None:
    discriminators = "cgn/models/discriminators.py"
    docstring, *_ = (repository.folder / discriminators).read_text().splitlines()
    repository.edit(docstring, '"""Others."""  # in other words', discriminators)
    assert repository.repro() == ({"code"}, set())
    repository.edit("from torch import", "CHANGED = True\nfrom torch import", discriminators)
    ran, _ = repository.repro()
    assert {name.split("@")[0] for name in ran} == {"code", "train_generator", "generate", "measure"}


def test_a_further_mix_adds_its_own_stages_alone(repository: Repository) -> None:
    params = YAML(typ="safe", pure=True).load(repository.folder / "params.yaml")
    assert "cf_heavy" not in params["methods"]
    repository.edit("mixes: [original_cf]", "mixes: [original_cf, cf_heavy]")
    repository.edit("\nmethods:  ", "\nmethods:\n  cf_heavy: {rule: erm, mix: {train: 0.5, generated: 0.5}}\n  ")
    before = {name for name in repository.stages() if "cf_heavy" not in name}
    ran, _ = repository.repro()
    explained = {f"explain@demo-{dataset}" for dataset in ("colored", "double_colored")}
    assert ran == {"check", "report@demo"} | explained | (repository.stages() - before)


def test_a_further_environment_reruns_what_learns_from_real_images_and_what_predicts(repository: Repository) -> None:
    repository.edit("env_99, env_100]", "env_99, env_99_5, env_100]")
    ran, _ = repository.repro()
    kinds = {name.split("@")[0] for name in ran}
    assert {"build_dataset", "train_classifier", "predict", "predict_with"} <= kinds
    assert not kinds & {"train_generator", "generate", "train_classifier_with", "train_judges", "measure"}


def test_ablations_add_their_own_stages_alone_even_one_that_changes_nothing(repository: Repository) -> None:
    before = repository.stages()
    repository.edit(
        "{generators: [], changes: [unchanged, no_binary]}", "{generators: [cgn], changes: [unchanged, no_binary]}"
    )
    added = repository.stages() - before
    assert {name for name in added if "unchanged" in name} == {
        f"ablate@demo-{dataset}-cgn-unchanged-0" for dataset in ("colored", "double_colored")
    }
    assert repository.repro()[0] == {"check", "report@demo", *added}
    assert repository.repro() == (set(), set())
