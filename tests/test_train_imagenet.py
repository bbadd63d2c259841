"""Training the ImageNet CGN at scale `tiny`: what the stage writes, resumes, stops and refuses."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from imagenet_road import Road, fetch, generate, params_with, train, with_recipe
from isolation import ROOT
from PIL import Image
from tiny_repository import call

from cgn.checkpoints import FILE_NAME, load_checkpoint, save_checkpoint
from cgn.config import ConfigError, load_params
from cgn.errors import InputError
from cgn.generators.imagenet_cgn import MECHANISMS
from cgn.generators.imagenet_sheets import SHEET_CLASSES
from cgn.generators.imagenet_training import ImagenetCgnTraining
from cgn.ranks import ALONE
from cgn.shards import read_split
from stages import (
    train_imagenet,
    training,
)

Tensors = dict[str, torch.Tensor]


def test_a_training_writes_mechanisms_a_table_and_sheets(road: Road) -> None:
    checkpoint = load_checkpoint(road.checkpoint / FILE_NAME, kind="imagenet_cgn")
    assert {name.split(".")[0] for name in checkpoint.tensors} == {"shape", "texture", "background"}
    rows = list(csv.DictReader((road.record / "scalars.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert {"l1", "perceptual", "binary", "size", "texture", "background", "mask_mean"} <= rows[0].keys()
    sheets = sorted((road.record / "sheets").iterdir())
    assert [sheet.name for sheet in sheets] == ["step-000001.png", "step-000002.png", "step-000003.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (len(SHEET_CLASSES) * 66, 6 * 66)


def test_the_same_inputs_give_the_same_bytes(road: Road, tmp_path: Path) -> None:
    params = params_with(tmp_path)
    fetch(params, tmp_path / "weights")
    for name in ("biggan", "saliency", "vgg"):
        file = f"{name}.safetensors"
        assert (tmp_path / "weights" / file).read_bytes() == (road.weights / file).read_bytes()
    train(params, road.weights, tmp_path / "again")
    first = (road.checkpoint / FILE_NAME).read_bytes()
    assert (tmp_path / "again/checkpoint" / FILE_NAME).read_bytes() == first
    again = (tmp_path / "again/record/scalars.csv").read_bytes()
    assert again == (road.record / "scalars.csv").read_bytes()


def test_two_processes_go_on_from_a_state_to_the_weights_of_one_that_was_never_stopped(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    params = params_with(tmp_path, train__num_processes=2)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_SAVE_EVERY_SECONDS", 0.0)
        patch.setattr(train_imagenet, "save_sheet", stop_in_the_second_step)
        patch.setattr(train_imagenet, "run_ranks", lambda num, work: work(ALONE))
        with pytest.raises(KeyboardInterrupt):
            train(params, road.weights, tmp_path)
    train(params, road.weights, tmp_path)
    assert "resumed at step 1 of 3" in capfd.readouterr().err
    one, two = (
        load_checkpoint(folder / FILE_NAME, kind="imagenet_cgn").tensors
        for folder in (road.checkpoint, tmp_path / "checkpoint")
    )
    start = load_checkpoint(road.weights / "biggan.safetensors", kind="weights").tensors
    for name in MECHANISMS:
        assert_near(one, two, start, name)
    rows, again = (read_scalars(record) for record in (road.record, tmp_path / "record"))
    assert len(rows) == len(again) == 3
    for row, other in zip(rows, again, strict=True):
        assert row == pytest.approx(other, rel=2e-3)


def assert_near(one: Tensors, two: Tensors, start: Tensors, name: str) -> None:
    """Two trainings moved a mechanism's weights from `start` to nearly the same place."""
    trained = (part for part in start if part.endswith(("weight_orig", "bias", "embeddings.weight")))
    parts = [(f"{name}.{part}", start[part]) for part in trained]
    moved = torch.cat([(one[part] - tensor).flatten() for part, tensor in parts])
    apart = torch.cat([(two[part] - one[part]).flatten() for part, _ in parts])
    assert apart.norm() < 0.02 * moved.norm()  # Adam makes much of the rounding of tiny gradients


@pytest.mark.full
def test_compiled_networks_train_to_the_same_weights_by_rounding(road: Road, tmp_path: Path) -> None:
    """In processes of their own: torch.compile cannot look into functions whose shapes are checked, as they are in tests."""
    found = []
    for compiled in (False, True):
        params = params_with(tmp_path, train__compile=compiled, train__recompute=True)
        text = params.read_text(encoding="utf-8")
        params.write_text(text.replace("precision: bfloat16", "precision: float32"), encoding="utf-8")
        program = "import sys, test_imagenet_stages as stages; from pathlib import Path; stages.train(*map(Path, sys.argv[1:]))"
        places = (params, road.weights, tmp_path / str(compiled))
        call(ROOT / "tests", sys.executable, "-c", program, *map(str, places))
        found.append(load_checkpoint(tmp_path / str(compiled) / "checkpoint" / FILE_NAME, kind="imagenet_cgn").tensors)
    start = load_checkpoint(road.weights / "biggan.safetensors", kind="weights").tensors
    plain, compiled_ones = found
    assert any(
        not torch.equal(tensor, compiled_ones[name]) for name, tensor in plain.items()
    )  # so something was compiled
    for name in MECHANISMS:
        assert_near(plain, compiled_ones, start, name)


def test_a_refiner_is_trained_stored_and_used(road: Road, tmp_path: Path) -> None:
    params = with_recipe(params_with(tmp_path, train__num_steps=1), refiner={"width": 4, "lr": 0.1})
    train(params, road.weights, tmp_path)
    refined = road._replace(checkpoint=tmp_path / "checkpoint")
    tensors = load_checkpoint(refined.checkpoint / FILE_NAME, kind="imagenet_cgn").tensors
    assert tensors["refiner.leave.bias"].abs().min() > 0
    generate(params, refined, tmp_path / "refined")
    without = {name: tensor for name, tensor in tensors.items() if not name.startswith("refiner.")}
    checkpoint = load_checkpoint(refined.checkpoint / FILE_NAME, kind="imagenet_cgn")
    save_checkpoint(
        refined.checkpoint / FILE_NAME,
        without,
        kind="imagenet_cgn",
        config={**checkpoint.config, "recipe": {**checkpoint.config["recipe"], "refiner": None}},
        trained_on=checkpoint.trained_on,
    )
    generate(params, refined, tmp_path / "plain")
    one, two = (read_split(tmp_path / name, "generated").pixels for name in ("refined", "plain"))
    assert (one.float() - two.float()).abs().mean() > 1  # of 255: a tenth of the range, where nothing is clipped


def stop_in_the_second_step(run: ImagenetCgnTraining, _: Path) -> None:
    """In place of a sheet, which comes before the state: only that of the first step is written."""
    if run.step == 2:
        raise KeyboardInterrupt


def read_scalars(record: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((record / "scalars.csv").read_text(encoding="utf-8").splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def test_more_processes_than_gpus_are_refused_by_their_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = r"imagenet_scales.tiny.train.num_processes: found 4, expected at most 2, as many as GPUs are here"
    with pytest.raises(ConfigError, match=message) as error:
        train(params_with(tmp_path, train__num_processes=4), tmp_path / "weights", tmp_path)
    assert error.value.field == "imagenet_scales.tiny.train.num_processes"


def params_that_stop(folder: Path, **limits: object) -> Path:
    """A params.yaml whose recipe ends a run by its masks."""
    given = load_params(ROOT / "params.yaml").imagenet_cgn["authors_code"].collapse_stop
    assert given is not None
    return with_recipe(params_with(folder), collapse_stop={**given.model_dump(), **limits})


def test_limits_of_masks_are_the_lowest_and_then_the_highest(tmp_path: Path) -> None:
    message = r"authors_code.collapse_stop.mask_mean: found \[0.9, 0.1\], expected the lowest and then the highest"
    with pytest.raises(ConfigError, match=message):
        load_params(params_that_stop(tmp_path, mask_mean=[0.9, 0.1]))


def test_a_run_whose_masks_collapse_leaves_its_weights_and_sheets_for_a_look_and_no_outputs(
    road: Road, tmp_path: Path
) -> None:
    params = params_that_stop(tmp_path, after_share=0.0, mask_mean=[0.98, 0.99], for_steps=2)
    with pytest.raises(
        InputError, match=r"step 2: the masks have collapsed: .*its weights at this step are in .*scratch"
    ):
        train(params, road.weights, tmp_path / "out")
    (scratch,) = (path for path in (tmp_path / "scratch").iterdir() if path.name != "tensorboard")
    kept = [
        load_checkpoint(scratch / name / FILE_NAME, kind="imagenet_cgn") for name in ("masks_left_limits", "stopped")
    ]
    assert not torch.equal(
        *(checkpoint.tensors["shape.embeddings.weight"] for checkpoint in kept)
    )  # a step lies between
    assert sorted(sheet.name for sheet in (scratch / "sheets").iterdir()) == ["step-000001.png", "step-000002.png"]
    assert not (tmp_path / "out").exists()


def test_a_run_with_a_loss_that_is_no_number_leaves_the_weights_before_it(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = ImagenetCgnTraining.losses

    def nothing_in_the_second_step(run: ImagenetCgnTraining, *inputs: Any) -> Any:
        layers, terms = losses(run, *inputs)
        return layers, {**terms, "l1": terms["l1"] * (torch.nan if run.step == 1 else 1)}

    monkeypatch.setattr(ImagenetCgnTraining, "losses", nothing_in_the_second_step)
    with pytest.raises(InputError, match=r"step 2: found l1 nan, .*its weights at this step are in"):
        train(params_with(tmp_path), road.weights, tmp_path / "out")
    (path,) = (tmp_path / "scratch").glob(f"*/stopped/{FILE_NAME}")
    assert all(tensor.isfinite().all() for tensor in load_checkpoint(path, kind="imagenet_cgn").tensors.values())
    assert not (tmp_path / "out").exists()


def curves_of(folder: Path) -> Any:
    """What the only training below a folder has drawn."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    (run,) = folder.iterdir()
    return EventAccumulator(str(run)).Reload()


def test_curves_for_tensorboard_hold_every_recorded_number(road: Road) -> None:
    shown = road.record.parents[4] / "scratch/tensorboard"
    (folder,) = shown.iterdir()
    assert folder.name.startswith("imagenet-tiny-authors_code-unchanged-0-")
    events = curves_of(shown)
    rows = read_scalars(road.record)
    assert {"step", *events.Tags()["scalars"]} == {*rows[0], "images_per_second"}
    assert [event.step for event in events.Scalars("images_per_second")] == [2, 3]
    assert all(event.value > 0 for event in events.Scalars("images_per_second"))
    for name in set(rows[0]) - {"step"}:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-5)) for row in rows]


def watching(tmp_path: Path, *, weights: dict[str, object]) -> Path:
    """A params.yaml that has the Inception Score of four composites shown after every second step."""
    params = params_with(tmp_path, weights__inception=weights)
    text = params.read_text(encoding="utf-8")
    shown = text.replace(
        "watch_inception: {every_steps: 20, num_images: 500}", "watch_inception: {every_steps: 2, num_images: 4}"
    )
    assert shown != text
    params.write_text(shown, encoding="utf-8")
    return params


def test_an_inception_score_is_shown_on_the_way_and_changes_no_byte(
    road: Road, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(watching(tmp_path, weights={"source": "random", "location": None, "sha256": None}), road.weights, tmp_path)
    for name in ("scalars.csv", "sheets/step-000003.png"):
        assert (tmp_path / "record" / name).read_bytes() == (road.record / name).read_bytes()
    assert (tmp_path / "checkpoint" / FILE_NAME).read_bytes() == (road.checkpoint / FILE_NAME).read_bytes()
    (event,) = curves_of(tmp_path / "scratch/tensorboard").Scalars("inception_score")
    assert event.step == 2
    assert 1 < event.value <= 4  # of four images
    assert f"step 2: Inception Score {event.value:.2f} of 4 composites" in caplog.text


def test_where_inception_cannot_be_had_the_log_says_so_and_training_goes_on(
    road: Road, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = {"source": "path", "location": str(tmp_path / "inception.pth"), "sha256": None}
    train(watching(tmp_path, weights=weights), road.weights, tmp_path)
    assert (tmp_path / "checkpoint" / FILE_NAME).read_bytes() == (road.checkpoint / FILE_NAME).read_bytes()
    assert "no Inception Score will be shown" in caplog.text
    assert "inception_score" not in curves_of(tmp_path / "scratch/tensorboard").Tags()["scalars"]
