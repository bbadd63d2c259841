"""Facts about the stages: a tiny run through every `main()`, killed and repeated, with good and bad inputs."""

import copy
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tiny_pipeline import MODEL, ROOT, Project, hashes, write_params

import cgn.classifiers.fit
import cgn.generators.base
import stages.training
from cgn.checkpoints import load_checkpoint, save_checkpoint
from cgn.contracts import FACTORS
from cgn.models.vgg import random_vgg_features
from cgn.shards import MANIFEST, read_manifest, verify_shard_set
from stages import (
    build_dataset,
    check,
    generate,
    score,
    train_classifier,
    train_generator,
)
from stages.common import run

CELLS = ("original", "cgn-original_cf")


def same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole pipeline, once."""
    root = tmp_path_factory.mktemp("pipeline")
    project = Project(root, write_params(root))
    project.prepare()
    project.train_generator()
    project.generate()
    for cell in CELLS:
        project.train_classifier(cell)
        project.predict(cell)
        project.score(cell)
    project.illustrate()
    project.report()
    return project


# ---- one run through every stage


def test_the_pipeline_ends_with_a_report_below_5_mb(finished: Project) -> None:
    assert 10_000 < (finished.root / "report" / "index.html").stat().st_size < 5_000_000
    assert "Original, biased" in (finished.root / "report" / "summary.txt").read_text(encoding="utf-8")


def test_the_results_name_every_cell(finished: Project) -> None:
    rows = json.loads((finished.root / "report" / "results.json").read_text())
    cells = {(row["scale"], row["dataset"], row["experiment"], row["seed"]) for row in rows}
    assert cells == {("demo", "double_colored", cell, 0) for cell in CELLS}
    values = [row["value"] for row in rows if row["metric"] == "accuracy"]
    assert all(0 <= value <= 1 for value in values)
    assert {row["test_set"] for row in rows} == {"train", "val", "test"}


def test_every_shard_set_of_the_pipeline_is_whole(finished: Project) -> None:
    assert verify_shard_set(finished.real) == 500 + 3500 + 500 + 1000
    assert verify_shard_set(finished.root / "generated") == 120


def test_no_partial_output_and_no_resume_state_is_left(finished: Project) -> None:
    assert list(finished.root.rglob("*.partial")) == []
    assert list((finished.root / "scratch").glob("*")) == []


def test_records_hold_scalars_sheets_and_a_summary(finished: Project) -> None:
    folder = finished.root / "records" / "cgn"
    assert (folder / "scalars.csv").read_text().startswith("step,images_seen,")
    assert (folder / "sheets" / "step-000010.png").is_file()
    assert json.loads((folder / "record.json").read_text())["images_seen"] == 640
    record = json.loads((finished.root / "records" / "cgn-original_cf" / "record.json").read_text())
    assert record["images_seen_by_source"].keys() == {"train", "generated"}
    assert sum(record["images_seen_by_source"].values()) == 640


def test_the_factors_of_counterfactuals_are_uniform_and_independent(finished: Project, tmp_path: Path) -> None:
    def many(params: dict) -> None:
        params["scales"]["demo"]["generate"] |= {"num_images": 2000, "images_per_shard": 1000}

    project = Project(tmp_path, write_params(tmp_path, many), finished.real)
    (tmp_path / "checkpoints").symlink_to(finished.root / "checkpoints")
    project.generate()
    manifest = read_manifest(tmp_path / "generated")
    assert manifest["label"].to_pylist() == manifest["shape"].to_pylist()
    factors = {name: torch.tensor(manifest[name].to_pylist()) for name in FACTORS}
    for labels in factors.values():
        assert chi_squared(labels.bincount(minlength=10)) < 33.7  # 0.9999 quantile of 9 degrees of freedom
    for left, right in (("shape", "texture"), ("shape", "background"), ("texture", "background")):
        table = (10 * factors[left] + factors[right]).bincount(minlength=100)
        assert chi_squared(table) < 159.0  # 0.9999 quantile of 99 degrees of freedom


def chi_squared(counts: torch.Tensor) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_the_same_run_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    again = Project(tmp_path, write_params(tmp_path), finished.real)
    again.train_generator()
    again.generate()
    again.train_classifier()
    for folder in ("checkpoints/cgn", "records/cgn", "generated", "checkpoints/original", "records/original"):
        assert hashes(tmp_path / folder) == hashes(finished.root / folder)


def test_training_sees_no_factor_column(finished: Project, tmp_path: Path) -> None:
    real = tmp_path / "shuffled"
    real.mkdir()
    for path in finished.real.iterdir():
        (real / path.name).symlink_to(path)
    (real / MANIFEST).unlink()
    manifest = read_manifest(finished.real)
    rng = torch.Generator().manual_seed(0)
    for name in FACTORS:
        order = torch.randperm(manifest.num_rows, generator=rng).numpy()
        column = manifest.schema.get_field_index(name)
        manifest = manifest.set_column(column, manifest.schema.field(name), manifest[name].take(pa.array(order)))
    pq.write_table(manifest, real / MANIFEST)
    assert read_manifest(real)["shape"].to_pylist() != read_manifest(finished.real)["shape"].to_pylist()
    project = Project(tmp_path, write_params(tmp_path), real)
    project.train_generator()
    project.train_classifier()
    assert same_weights(project.weights("cgn"), finished.weights("cgn"))
    assert same_weights(project.weights("original"), finished.weights("original"))


# ---- killed and started again


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize("what", ["cgn", "original"])
def test_a_killed_training_continues_to_the_same_bytes(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, is_saved: bool
) -> None:
    for module in (cgn.generators.base, cgn.classifiers.fit):
        monkeypatch.setattr(module, "_LOG_EVERY_STEPS", 1)
    monkeypatch.setattr(stages.training, "_SAVE_EVERY_SECONDS", -1.0)
    projects = [Project(tmp_path / name, write_params(tmp_path / name), finished.real) for name in ("plain", "killed")]
    train = Project.train_generator if what == "cgn" else Project.train_classifier
    train(projects[0])

    steps = []
    save_state = stages.training.save_state

    def save_until_killed(path: Path, state: dict) -> None:
        steps.append(state["training"]["step"])
        if len(steps) == 7 and not is_saved:
            raise Killed
        save_state(path, state)
        if len(steps) == 7:
            raise Killed

    monkeypatch.setattr(stages.training, "save_state", save_until_killed)
    with pytest.raises(Killed):
        train(projects[1])
    assert not (projects[1].root / "checkpoints").exists()
    train(projects[1])
    assert steps == [1, 2, 3, 4, 5, 6, 7, *range(8 if is_saved else 7, 11)]
    for folder in ("checkpoints", "records"):
        assert hashes(projects[1].root / folder) == hashes(projects[0].root / folder)
    if what == "cgn":
        assert len(list((projects[1].root / "records" / "cgn" / "sheets").iterdir())) == 2


def test_a_torn_resume_state_starts_the_training_again(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Torn(stages.training.Scratch):
        def __init__(self, root: Path, inputs: dict) -> None:
            super().__init__(root, inputs)
            self.folder.mkdir(parents=True)
            self.state.write_bytes(b"PK\x03\x04 half a file")

    monkeypatch.setattr(train_classifier, "Scratch", Torn)
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    project.train_classifier()
    assert same_weights(project.weights("original"), finished.weights("original"))


# ---- what cannot work


def test_a_collapsed_generator_ends_with_its_statistic_after_every_attempt(finished: Project, tmp_path: Path) -> None:
    def impossible(params: dict) -> None:
        params["generator"]["cgn"]["retries"] = 1
        params["generator"]["cgn"]["collapse"]["min_class_distance"] = 1.0

    project = Project(tmp_path, write_params(tmp_path, impossible), finished.real)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CGN_OUTCOME": str(tmp_path / "outcome.json")}
    done = subprocess.run(
        [sys.executable, "-m", "stages.train_generator", *project.generator_argv()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the generator has collapsed: mean masks of the classes differ by ")
    assert "all 2 attempts ended so: raise generator.cgn.retries" in last
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert outcome == {"code": 2, "cause": last.removeprefix("error: "), "field": ""}
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "records").exists()


def test_a_collapsed_first_attempt_is_followed_by_another_draw(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    plain = train_generator.check_collapse
    calls = []

    def fails_once(*args: object) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise train_generator.CollapseError("the generator has collapsed")
        plain(*args)

    monkeypatch.setattr(train_generator, "check_collapse", fails_once)
    project.train_generator()
    assert json.loads((tmp_path / "records" / "cgn" / "record.json").read_text())["attempts"] == 2
    assert not same_weights(project.weights("cgn"), finished.weights("cgn"))


def assert_ends_with_2(main: Callable[[], None], caplog: pytest.LogCaptureFixture, *parts: str) -> None:
    caplog.clear()
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 2
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


def test_a_missing_input_folder_ends_with_one_line_and_2(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = Project(tmp_path, write_params(tmp_path), tmp_path / "nowhere")
    for main in (project.train_generator, project.train_classifier):
        assert_ends_with_2(main, caplog, "nowhere/manifest.parquet is missing", "run `dvc repro`")
    assert_ends_with_2(project.generate, caplog, "checkpoints/cgn/model.safetensors is missing", "run `dvc repro`")
    assert_ends_with_2(lambda: project.predict("original"), caplog, "model.safetensors is missing")
    assert_ends_with_2(project.illustrate, caplog, "nowhere/manifest.parquet is missing")
    assert_ends_with_2(project.report, caplog, "original-0.json", "run `dvc repro`")
    argv = [f"--params={project.params}", f"--predictions={tmp_path / 'none.parquet'}", f"--out={tmp_path / 'x.json'}"]
    assert_ends_with_2(lambda: score.main(argv), caplog, "none.parquet")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["params.yaml"]


@pytest.fixture
def authors(finished: Project, tmp_path: Path) -> Project:
    """A project whose generator is trained by the authors' recipe, narrow, with untrained VGG16 weights in a file."""
    path = tmp_path / "vgg16.safetensors"
    save_file(random_vgg_features(0).state_dict(), path)

    def use_authors_code(params: dict) -> None:
        recipe = copy.deepcopy(params["generator"]["cgn_authors"])
        recipe |= {"width": 4, "vgg_weights": str(path), "vgg_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        recipe |= {"sheet_every_steps": 2, "collapse": params["generator"]["cgn"]["collapse"]}
        recipe["datasets"]["double_colored"] |= {"style_weights": [0.05, 0.0, 0.0, 0.0], "discriminator_width": 8}
        params["generator"]["cgn"] = recipe
        params["scales"]["demo"]["generator"]["num_images"] = 64

    return Project(tmp_path, write_params(tmp_path, use_authors_code), finished.real)


def test_the_authors_recipe_trains_and_generates_where_vgg_weights_are_given(authors: Project) -> None:
    authors.train_generator()
    authors.generate()
    record = authors.root / "records" / "cgn"
    assert (record / "scalars.csv").read_text().startswith("step,images_seen,discriminator,adversarial,binary,style,")
    assert [path.name for path in sorted((record / "sheets").iterdir())] == ["step-000002.png", "step-000004.png"]
    assert json.loads((record / "record.json").read_text())["images_seen"] == 64
    assert verify_shard_set(authors.root / "generated") == 120


def test_absent_vgg_weights_end_at_the_check_with_their_field(
    authors: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (authors.root / "vgg16.safetensors").unlink()
    monkeypatch.setenv("CGN_OUTCOME", str(authors.root / "outcome.json"))
    argv = [f"--params={authors.params}", f"--out={authors.root / 'checked'}"]
    assert_ends_with_2(
        lambda: check.main(argv), caplog, "generator.cgn.vgg_weights: found no file at", "expected VGG16"
    )
    assert json.loads((authors.root / "outcome.json").read_text())["field"] == "generator.cgn.vgg_weights"
    assert_ends_with_2(authors.train_generator, caplog, "VGG16 weights: found no file at", "download https://")


def test_a_checkpoint_of_an_unknown_recipe_ends_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoints" / "cgn" / MODEL
    known = load_checkpoint(finished.root / "checkpoints" / "cgn" / MODEL, kind="generator")
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    recipe = known.config["generator"]
    for config, says in (
        ({"generator": {**recipe, "recipe": "diffusion"}}, "found recipe 'diffusion'"),
        ({"generator": {**recipe, "momentum": 1}}, "found recipe 'fast' with fast.momentum at fault"),
        ({}, "found recipe None"),
    ):
        save_checkpoint(path, known.tensors, kind="generator", config=config, trained_on="")
        assert_ends_with_2(project.generate, caplog, str(path), says, "allowed: authors_code, fast", "run `dvc repro`")


def test_unknown_names_on_a_command_line_end_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    trained = [word for word in project.generator_argv() if not word.startswith("--generator=")]
    assert_ends_with_2(
        lambda: train_generator.main([*trained, "--generator=gan"]), caplog, "--generator: found 'gan', allowed: cgn,"
    )
    assert_ends_with_2(
        lambda: train_generator.main([*project.generator_argv(), "--scale=huge"]), caplog, "--scale: found 'huge'"
    )
    assert_ends_with_2(lambda: project.train_classifier("magic"), caplog, "--method: found 'magic', allowed: cf_only,")
    generated = [f"--params={project.params}", "--scale=demo", "--dataset=colored", "--generator=gan", "--seed=0"]
    generated += [f"--checkpoint={tmp_path / 'none'}", f"--out={tmp_path / 'generated'}"]
    assert_ends_with_2(lambda: generate.main(generated), caplog, "--generator: found 'gan', allowed: cgn,")
    with pytest.raises(SystemExit, match="2"):
        train_generator.main([*project.generator_argv(), "--dataset=cifar"])


def test_missing_textures_end_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "digits.safetensors").symlink_to(finished.root / "raw" / "digits.safetensors")
    argv = ["--scale=demo", "--dataset=wildlife", f"--raw={raw}", f"--out={tmp_path / 'out'}"]
    argv += [f"--params={finished.params}"]
    assert_ends_with_2(lambda: build_dataset.main(argv), caplog, "raw/textures/object: found no folder", "dvc repro")
    assert not (tmp_path / "out").exists()


def test_bad_params_end_with_2_and_their_field_in_the_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = write_params(tmp_path, lambda params: params["runtime"].update(generate_workers=0))
    monkeypatch.setenv("CGN_OUTCOME", str(tmp_path / "outcome.json"))
    argv = [f"--params={params}", f"--out={tmp_path / 'checked'}"]
    assert_ends_with_2(lambda: check.main(argv), caplog, "runtime.generate_workers: found 0")
    assert json.loads((tmp_path / "outcome.json").read_text())["field"] == "runtime.generate_workers"
    assert not (tmp_path / "checked").exists()


def test_an_error_of_several_lines_is_said_in_one(caplog: pytest.LogCaptureFixture) -> None:
    def main() -> None:
        raise ValueError("first\n  second")

    assert_ends_with_2(main, caplog, "error: first second")


def test_an_io_fault_may_be_retried_and_a_bug_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CGN_OUTCOME", str(tmp_path / "outcome.json"))

    def full() -> None:
        raise OSError("no space left on device")

    def broken() -> None:
        raise KeyError("oops")

    with pytest.raises(SystemExit, match="75"):
        run(full)
    assert json.loads((tmp_path / "outcome.json").read_text())["code"] == 75
    with pytest.raises(KeyError, match="oops"):
        run(broken)
    assert json.loads((tmp_path / "outcome.json").read_text())["code"] == 1
    run(lambda: None)
    assert json.loads((tmp_path / "outcome.json").read_text()) == {"code": 0, "cause": "", "field": ""}
