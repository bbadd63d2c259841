"""Facts about the stages: what each says and leaves behind where its inputs are bad."""

import copy
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import save_file
from tiny_pipeline import MODEL, ROOT, Project, same_weights, write_params
from tiny_repository import is_alive, wait_for

from cgn.checkpoints import load_checkpoint, save_checkpoint
from cgn.errors import InputError
from cgn.models.vgg import random_vgg_features
from cgn.shards import Batch, read_split, verify_shard_set, write_shard_set
from stages import build_dataset, check, generate, predict, score, train_generator
from stages.common import run


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

    def fails_once(*args: object, **options: object) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise train_generator.CollapseError("the generator has collapsed")
        plain(*args, **options)

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
        params["ablate"]["generators"] = []
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
    origin = {"dataset": "double_colored", "seed": 0}
    for config, says in (
        ({**origin, "generator": {**recipe, "recipe": "diffusion"}}, "found recipe 'diffusion'"),
        ({**origin, "generator": {**recipe, "momentum": 1}}, "found recipe 'fast' with fast.momentum at fault"),
        (origin, "found recipe None"),
    ):
        save_checkpoint(path, known.tensors, kind="generator", config=config, trained_on="")
        assert_ends_with_2(
            project.generate,
            caplog,
            str(path),
            says,
            "allowed: authors_code, beta_vae, cut_paste, fast",
            "run `dvc repro`",
        )


def test_a_checkpoint_of_another_data_set_or_seed_ends_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint, out = finished.root / "checkpoints" / "cgn", tmp_path / "generated"
    argv = [f"--params={finished.params}", "--scale=demo", "--generator=cgn", f"--checkpoint={checkpoint}"]
    argv += [f"--real={finished.real}"]
    for dataset, seed, says in (
        ("wildlife", 0, "found dataset 'double_colored', expected 'wildlife'; give the checkpoint of this dataset"),
        ("double_colored", 7, "found seed 0, expected 7; give the checkpoint of this seed"),
    ):
        options = [*argv, f"--dataset={dataset}", f"--seed={seed}", f"--out={out}"]
        assert_ends_with_2(lambda options=options: generate.main(options), caplog, f"{checkpoint / MODEL}: {says}")
    assert not out.exists()


def test_workers_end_with_a_parent_that_is_killed(finished: Project, tmp_path: Path) -> None:
    def long(params: dict) -> None:
        params["scales"]["demo"]["generate"] |= {"num_images": 400_000, "images_per_shard": 100_000}
        params["runtime"]["generate_workers"] = 2

    argv = [f"--params={write_params(tmp_path, long)}", "--scale=demo", "--dataset=double_colored", "--generator=cgn"]
    argv += ["--seed=0", f"--checkpoint={finished.root / 'checkpoints' / 'cgn'}", f"--out={tmp_path / 'generated'}"]
    argv += [f"--real={finished.real}"]
    parent = subprocess.Popen([sys.executable, "-m", "stages.generate", *argv], cwd=ROOT, start_new_session=True)
    try:
        workers = wait_for(lambda: len(found := spawned(parent.pid)) == 2 and found)
        time.sleep(3)  # the initializer has run once torch is imported
        parent.kill()
        parent.wait()
        wait_for(lambda: not any(map(is_alive, workers)), 20)
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if any(map(is_alive, workers)) else None
    assert not (tmp_path / "generated").exists()


def spawned(parent: int) -> list[int]:
    """The worker processes of a pool, without the resource tracker beside them."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_a_table_that_holds_no_predictions_ends_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "table.parquet"
    argv = [f"--params={finished.params}", f"--predictions={table}", f"--out={tmp_path / 'x.json'}"]
    remedy = "run `dvc repro predict predict_with`"
    assert_ends_with_2(lambda: score.main(argv), caplog, f"{table} is missing", remedy)
    table.write_bytes(b"PAR1 half a table")
    assert_ends_with_2(lambda: score.main(argv), caplog, f"{table} cannot be read as Parquet", remedy)
    pq.write_table(pa.table({"test_set": ["test"], "shape": [1]}), table)
    assert_ends_with_2(
        lambda: score.main(argv), caplog, "found shape: int64; test_set: string, expected background: int16"
    )


def test_a_flipped_bit_in_predictions_is_not_another_accuracy(finished: Project, tmp_path: Path) -> None:
    whole = (finished.root / "predictions" / "original-0.parquet").read_bytes()
    table, out = tmp_path / "table.parquet", tmp_path / "x.json"
    argv = [f"--params={finished.params}", f"--predictions={table}", f"--out={out}"]
    table.write_bytes(whole)
    score.main(argv)
    expected, refused = out.read_bytes(), 0
    for position in range(0, len(whole), len(whole) // 100):
        table.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            score.main(argv)
        except InputError:
            refused += 1
        assert out.read_bytes() == expected
    assert refused > 50


def test_what_belongs_to_another_data_set_or_seed_ends_with_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "colored"
    images = read_split(finished.real, "test")
    batch = Batch(images.pixels, images.labels, images.factors, images.low_contrast)
    write_shard_set(other, name="colored", seed=0, splits={"train": batch, "test": batch}, images_per_shard=1000)
    swapped = Project(tmp_path, finished.params, other)
    for folder in ("checkpoints", "generated", "judges", "raw", "records"):
        (tmp_path / folder).symlink_to(finished.root / folder)
    assert_ends_with_2(
        lambda: swapped.predict("original"), caplog, "found dataset 'double_colored', expected 'colored'"
    )
    assert_ends_with_2(
        lambda: swapped.train_classifier("cgn-original_cf"),
        caplog,
        "found double_colored-cgn, expected images made for",
    )
    for stage in (
        swapped.train_generator,
        swapped.generate,
        swapped.train_judges,
        swapped.measure,
        swapped.explain,
        swapped.ablate,
        lambda: swapped.sweep(images=20),
        swapped.illustrate,
    ):
        assert_ends_with_2(stage, caplog, f"{other}: found images of colored, expected those of double_colored")
    options = [f"--params={finished.params}", f"--real={finished.real}", f"--out={tmp_path / 'x.parquet'}", "--seed=77"]
    options += [f"--environments={finished.environments}"]
    checkpoint = finished.root / "checkpoints" / "original"
    assert_ends_with_2(
        lambda: predict.main([*options, f"--checkpoint={checkpoint}"]), caplog, "found seed 0, expected 77"
    )


@pytest.mark.parametrize("what", ["shard", "sheet"])
def test_a_picture_that_cannot_be_drawn_from_ends_with_its_name_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    project = Project(tmp_path, finished.params, finished.real)
    for name in ("generated", "records"):
        shutil.copytree(finished.root / name, tmp_path / name)
    if what == "shard":
        damaged = sorted((tmp_path / "generated").glob("*.tar"))[0]
        damaged.write_bytes(damaged.read_bytes()[:100])
    else:
        damaged = sorted((tmp_path / "records" / "cgn" / "sheets").iterdir())[0]
        damaged.write_bytes(b"nope")
    assert_ends_with_2(project.illustrate, caplog, str(damaged), "found no PNG image, or a damaged one")
    assert list((tmp_path / "sheets").rglob("*.png")) == []


def test_unknown_names_on_a_command_line_end_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    trained = [word for word in project.generator_argv() if not word.startswith("--generator=")]
    assert_ends_with_2(
        lambda: train_generator.main([*trained, "--generator=magic"]),
        caplog,
        "--generator: found 'magic', allowed: cgn,",
    )
    assert_ends_with_2(
        lambda: train_generator.main([*project.generator_argv(), "--scale=huge"]), caplog, "--scale: found 'huge'"
    )
    assert_ends_with_2(lambda: project.train_classifier("magic"), caplog, "--method: found 'magic', allowed: cf_only,")
    generated = [f"--params={project.params}", "--scale=demo", "--dataset=colored", "--generator=magic", "--seed=0"]
    generated += [f"--checkpoint={tmp_path / 'none'}", f"--out={tmp_path / 'generated'}", f"--real={finished.real}"]
    assert_ends_with_2(lambda: generate.main(generated), caplog, "--generator: found 'magic', allowed: cgn,")
    with pytest.raises(SystemExit, match="2"):
        train_generator.main([*project.generator_argv(), "--dataset=cifar"])


def test_missing_textures_end_with_one_line_and_2(
    finished: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "digits.safetensors").symlink_to(finished.root / "raw" / "digits.safetensors")
    argv = ["--scale=demo", "--dataset=wildlife", f"--raw={raw}", f"--out={tmp_path / 'out'}"]
    argv += [f"--params={finished.params}", f"--environments={tmp_path / 'environments'}"]
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
        raise InputError("first\n  second")

    assert_ends_with_2(main, caplog, "error: first second")


def test_an_io_fault_may_be_retried_and_a_bug_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CGN_OUTCOME", str(tmp_path / "outcome.json"))

    def full() -> None:
        raise OSError("no space left on device")

    def broken() -> None:
        raise ValueError("oops")  # what libraries raise for our mistakes; only an InputError is the user's

    with pytest.raises(SystemExit, match="75"):
        run(full)
    assert json.loads((tmp_path / "outcome.json").read_text())["code"] == 75
    with pytest.raises(ValueError, match="oops"):
        run(broken)
    assert json.loads((tmp_path / "outcome.json").read_text())["code"] == 1
    run(lambda: None)
    assert json.loads((tmp_path / "outcome.json").read_text()) == {"code": 0, "cause": "", "field": ""}
