"""The ImageNet road at scale `tiny`: what its stages write, and what they refuse."""

import csv
import fcntl
import itertools
import json
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from tiny_repository import call

from cgn.checkpoints import FILE_NAME, load_checkpoint, save_checkpoint
from cgn.config import ConfigError, check_params, load_params
from cgn.errors import InputError
from cgn.generators.imagenet_cgn import MECHANISMS
from cgn.generators.imagenet_sheets import SHEET_CLASSES
from cgn.generators.imagenet_training import ImagenetCgnTraining
from cgn.models.pretrained import load_network
from cgn.models.u2net import SMALL, U2Net
from cgn.models.vgg_bn import VggBnFeatures
from cgn.ranks import ALONE
from cgn.rng import stream
from cgn.shards import name_of, read_manifest, read_split, verify_shard_set
from stages import (
    fetch_judges,
    fetch_weights,
    generate_imagenet,
    illustrate_imagenet,
    imagenet_judging,
    measure_imagenet,
    train_imagenet,
    training,
)

ROOT = Path(__file__).parents[1]
U2NETP = ROOT.parent / "shared/weights/u2netp/u2netp_bnfolded_fp16src.pth"


def params_with(folder: Path, **changes: object) -> Path:
    """A params.yaml with fields of `imagenet_scales.tiny`, by their dotted names, set otherwise, and `tiny` listed."""
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["imagenet"] = ["tiny"]
    content["compute"]["threads"] = 1  # tests run side by side
    content["runtime"]["scratch"] = str(folder / "scratch")
    for name, value in changes.items():
        section = content["imagenet_scales"]["tiny"]
        *parents, last = name.split("__")
        for parent in parents:
            section = section[parent]
        section[last] = value
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return path


def with_recipe(path: Path, **changes: object) -> Path:
    """The same file with fields of the recipe set otherwise."""
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["imagenet_cgn"]["authors_code"] |= changes
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return path


def fetch(params: Path, out: Path) -> None:
    fetch_weights.main(["--params", str(params), "--scale", "tiny", "--out", str(out)])


def train(params: Path, weights: Path, out: Path) -> None:
    names = ["--scale", "tiny", "--recipe", "authors_code", "--change", "unchanged", "--seed", "0"]
    paths = ["--weights", str(weights), "--out", str(out / "checkpoint"), "--record", str(out / "record")]
    train_imagenet.main(["--params", str(params), *names, *paths])


Tensors = dict[str, torch.Tensor]


class Road(NamedTuple):
    """What `dvc repro` leaves of the road."""

    weights: Path
    judges: Path
    checkpoint: Path
    record: Path
    shards: Path
    sheets: Path
    metrics: Path


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """The project's own dvc.yaml with `imagenet: [tiny]`, and nothing else made; once for all processes that test."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "imagenet_road"
    with (base / "imagenet_road.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make_road(folder)
    names = ("checkpoints", "records", "shards", "sheets")
    parts = (folder / "data" / name / "imagenet-tiny/authors_code-unchanged/0" for name in names)
    fetched = (folder / "data/weights/tiny", folder / "data/judges/imagenet-tiny")
    return Road(*fetched, *parts, folder / "data/metrics/imagenet-tiny/authors_code-unchanged-0.json")


def make_road(folder: Path) -> None:
    """Run `dvc repro` for the road's stages in a copy of the project."""
    folder.mkdir()
    for name in ("cgn", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", "dvc.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    params_with(folder)
    call(folder, "git", "init", "--quiet")
    stages = (
        "fetch_weights",
        "fetch_judges",
        "train_imagenet",
        "generate_imagenet",
        "illustrate_imagenet",
        "measure_imagenet",
        "report_imagenet",
    )
    call(folder, sys.executable, "-m", "dvc", "repro", "--quiet", *stages)


def generate(params: Path, road: Road, out: Path) -> None:
    names = [
        "--scale",
        "tiny",
        "--recipe",
        "authors_code",
        "--change",
        "unchanged",
        "--seed",
        "0",
        "--weights",
        str(road.weights),
    ]
    paths = ["--checkpoint", str(road.checkpoint), "--out", str(out)]
    generate_imagenet.main(["--params", str(params), *names, *paths])


def measure(params: Path, weights: Path, judges: Path, checkpoint: Path, *, seed: int = 0) -> None:
    names = ["--scale", "tiny", "--seed", str(seed), "--weights", str(weights), "--judges", str(judges)]
    paths = ["--checkpoint", str(checkpoint), "--metrics", str(params.parent / "metrics.json")]
    measure_imagenet.main(["--params", str(params), *names, *paths])


def test_weights_are_checkpoints_that_say_where_they_come_from(road: Road) -> None:
    for kind in ("biggan", "saliency", "vgg"):
        checkpoint = load_checkpoint(road.weights / f"{kind}.safetensors", kind="weights")
        assert checkpoint.config["source"] == "random"
        assert checkpoint.config["network"] == kind


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


def test_curves_for_tensorboard_hold_every_recorded_number(road: Road) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    (folder,) = (road.record.parents[4] / "scratch/tensorboard").iterdir()
    assert folder.name.startswith("imagenet-tiny-authors_code-unchanged-0-")
    events = EventAccumulator(str(folder)).Reload()
    rows = read_scalars(road.record)
    assert {"step", *events.Tags()["scalars"]} == set(rows[0])
    for name in events.Tags()["scalars"]:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-5)) for row in rows]


def test_counterfactuals_are_a_whole_shard_set_in_the_common_form(road: Road) -> None:
    assert verify_shard_set(road.shards) == 20
    assert name_of(read_manifest(road.shards)) == "imagenet-authors_code-unchanged"
    batch = read_split(road.shards, "generated")
    assert batch.pixels.shape == (20, 3, 64, 64)
    assert torch.equal(batch.labels, batch.factors.shape)
    for left, right in itertools.combinations(batch.factors, 2):
        assert not torch.equal(left, right)
    assert max(int(part.max()) for part in batch.factors) > 100  # of a thousand classes


def test_the_same_checkpoint_gives_the_same_shards(road: Road, tmp_path: Path) -> None:
    generate(params_with(tmp_path), road, tmp_path / "shards")
    files = sorted(path.name for path in (road.shards).iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "shards" / name).read_bytes() == (road.shards / name).read_bytes()


def test_classes_are_drawn_from_those_that_are_chosen(road: Road, tmp_path: Path) -> None:
    chosen = {"generate__shape_classes": [340], "generate__texture_classes": [1, 2], "generate__num_images": 10}
    generate(params_with(tmp_path, **chosen), road, tmp_path / "shards")
    factors = read_split(tmp_path / "shards", "generated").factors
    assert set(factors.shape.tolist()) == {340}
    assert set(factors.texture.tolist()) == {1, 2}
    assert len(set(factors.background.tolist())) > 5


def illustrate(params: Path, road: Road, out: Path) -> None:
    paths = ["--weights", str(road.weights), "--checkpoint", str(road.checkpoint), "--out", str(out)]
    illustrate_imagenet.main(["--params", str(params), "--scale", "tiny", "--seed", "0", *paths])


def test_an_index_lists_every_picture_with_its_kind_and_classes(road: Road) -> None:
    index = json.loads((road.sheets / "index.json").read_text(encoding="utf-8"))
    assert (index["biggan"], index["trained_for_steps"], index["size_px"]) == ("random", 3, 64)
    listed = [picture["file"] for picture in index["pictures"]]
    files = {path.relative_to(road.sheets).as_posix() for path in road.sheets.rglob("*") if path.is_file()}
    assert sorted(listed) == sorted(files - {"index.json"})
    kinds = Counter(picture["kind"] for picture in index["pictures"])
    assert kinds == {"layer": 5, "interpolation": 1, "walk": 6, "transformation": 3, "failures": 1}
    for picture in index["pictures"]:
        assert picture["caption"]
        assert picture["kind"] == "failures" or "-".join(map(str, picture["classes"])) in picture["file"]


def test_the_same_checkpoint_gives_the_same_pictures(road: Road, tmp_path: Path) -> None:
    illustrate(params_with(tmp_path), road, tmp_path / "sheets")
    files = [path for path in sorted(road.sheets.rglob("*")) if path.is_file()]
    assert len(files) == 17
    for path in files:
        assert (tmp_path / "sheets" / path.relative_to(road.sheets)).read_bytes() == path.read_bytes(), path.name


def test_pictures_do_not_depend_on_which_others_are_drawn(road: Road, tmp_path: Path) -> None:
    changes: dict[str, object] = {"layers": [[1, 2, 3], [425, 949, 974]], "transformations": []}
    changes = {f"illustrate__{name}": value for name, value in changes.items()}
    illustrate(params_with(tmp_path, **changes, illustrate__films__classes=[]), road, tmp_path / "sheets")
    found = [path for path in sorted((tmp_path / "sheets").rglob("*")) if path.is_file()]
    assert len(found) == 13
    for name in ("layers/425-949-974/composite.png", "interpolations/425-947/sheet.png", "failures/draw-1.png"):
        assert (tmp_path / "sheets" / name).read_bytes() == (road.sheets / name).read_bytes()


def test_measures_say_what_they_depend_on(road: Road) -> None:
    measured = json.loads((road.metrics).read_text(encoding="utf-8"))
    assert measured["protocol"]["num_images"] == 20
    assert measured["protocol"]["effective_batch"] == 4
    assert measured["protocol"]["trained_for_steps"] == 3
    assert measured["protocol"]["size_px"] == 64
    assert 0 < measured["mask_mean"] < 1
    assert 0 <= measured["mask_iou"] <= 1
    assert 0 < measured["background_saliency"] < 1
    assert 0 < measured["reconstruction_l1"] < 2


def test_the_report_shows_the_run_and_says_that_it_proves_the_road(road: Road) -> None:
    report = road.metrics.parents[2] / "report/imagenet-tiny"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert re.search(r"proves the road and not the pictures.*BigGAN .*, the saliency network, VGG16", page, re.DOTALL)
    assert "ring-tailed lemur" in page
    rows = json.loads((report / "results.json").read_text(encoding="utf-8"))
    measured = json.loads(road.metrics.read_text(encoding="utf-8"))
    assert {row["value"] for row in rows if row["metric"] == "mask_mean"} == {measured["mask_mean"]}
    assert {row["command"] for row in rows} == {"dvc repro measure_imagenet@tiny-authors_code-unchanged-0"}


def test_measures_of_untrained_judges_say_so_with_all_that_they_depend_on(road: Road) -> None:
    measured = json.loads((road.metrics).read_text(encoding="utf-8"))
    quality = measured["image_quality"]
    assert quality["protocol"]["inception"] == "random"
    assert {"num_images": 20, "num_splits": 2, "truncation": 0.5, "size_px": 64}.items() <= quality["protocol"].items()
    assert "not against ImageNet's" in quality["protocol"]["fid_to_teacher"]
    assert "299 px, bilinear" in quality["protocol"]["resize"]
    assert [row["num_images"] for row in quality["inception_score"]] == [10, 20]
    for row in quality["inception_score"]:
        assert all(1 <= row[of]["mean"] < 2 for of in ("composites", "teacher"))
    assert quality["fid_to_teacher"] > 0
    assert quality["fid_to_real"] is None
    assert quality["null_because"] == "real_images is null"
    effectiveness = measured["effectiveness"]
    assert effectiveness["protocol"]["classifier"] == "squeezenet1_0"
    assert effectiveness["protocol"]["classifier_weights"] == "random"
    for factor in ("shape", "texture", "background"):
        assert 0 <= effectiveness[factor]["top1"] <= effectiveness[factor]["top5"] <= 0.5


def test_without_judges_there_is_no_number_but_the_reason(road: Road, tmp_path: Path) -> None:
    none = {"source": "none", "location": None, "sha256": None}
    params = params_with(tmp_path, weights__inception=none, weights__classifier={**none, "name": "resnet50"})
    fetch_judges.main(["--params", str(params), "--scale", "tiny", "--out", str(tmp_path / "judges")])
    measure(params, road.weights, tmp_path / "judges", road.checkpoint)
    measured = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert measured["image_quality"] == {
        "inception_score": None,
        "fid_to_teacher": None,
        "fid_to_real": None,
        "teacher_fid_to_real": None,
        "null_because": "weights.inception.source is none",
    }
    assert measured["effectiveness"] == {
        "shape": None,
        "texture": None,
        "background": None,
        "null_because": "weights.classifier.source is none",
    }
    before = json.loads((road.metrics).read_text(encoding="utf-8"))
    assert all(measured[name] == before[name] for name in ("protocol", "mask_mean", "reconstruction_l1"))


def test_fid_against_photographs_says_which_they_were(road: Road, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    few = {"image_quality__num_images": 4, "image_quality__score_at": [], "measure__num_images": 1}
    params = params_with(tmp_path, image_quality__real_images=str(folder), **few)
    with pytest.raises(InputError, match=r"photographs: found no picture, expected two or more"):
        measure(params, road.weights, road.judges, road.checkpoint)
    for value in (0, 255):
        Image.new("RGB", (80, 70), (value, 90, 0)).save(folder / f"{value}.png")
    measure(params, road.weights, road.judges, road.checkpoint)
    quality = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["image_quality"]
    assert quality["fid_to_real"] > 0
    assert quality["teacher_fid_to_real"] > 0
    assert quality["real_images"]["num_images"] == 2
    assert str(tmp_path) not in json.dumps(quality)


def test_counterfactuals_for_effectiveness_have_three_different_classes_each() -> None:
    labels = torch.stack(imagenet_judging._different(2000, 10, stream(0)))
    assert labels.shape == (3, 2000)
    assert all((labels[first] != labels[second]).all() for first, second in ((0, 1), (0, 2), (1, 2)))
    assert all((torch.bincount(of_factor, minlength=10) > 130).all() for of_factor in labels)


def test_a_cgn_of_another_seed_networks_or_weights_is_refused(road: Road, tmp_path: Path) -> None:
    params = params_with(tmp_path)
    with pytest.raises(InputError, match=r"found seed 0, expected 1; delete it and run `dvc repro`"):
        measure(params, road.weights, road.judges, road.checkpoint, seed=1)
    with pytest.raises(InputError, match=r"found networks .*'channel_width': 8.*, expected .*'channel_width': 16"):
        measure(params_with(tmp_path, networks__channel_width=16), road.weights, road.judges, road.checkpoint)
    shutil.copytree(road.weights, tmp_path / "other")
    vgg = tmp_path / "other/vgg.safetensors"
    checkpoint = load_checkpoint(vgg, kind="weights")
    save_checkpoint(vgg, checkpoint.tensors, kind="weights", config={"source": "other"}, trained_on="")
    with pytest.raises(InputError, match=r"found a CGN trained from other weights than those in .*other"):
        measure(params_with(tmp_path), tmp_path / "other", road.judges, road.checkpoint)
    assert not (tmp_path / "metrics.json").exists()


def test_vgg_is_the_one_that_the_scale_names(tmp_path: Path) -> None:
    params = params_with(tmp_path, networks__vgg="vgg16_bn")
    fetch(params, tmp_path / "weights")
    networks = load_params(params).imagenet_scales["tiny"].networks
    assert isinstance(load_network("vgg", tmp_path / "weights", networks), VggBnFeatures)
    with pytest.raises(InputError, match=r"vgg.safetensors is a checkpoint of another architecture"):
        load_network("vgg", tmp_path / "weights", networks.model_copy(update={"vgg": "vgg16"}))


@pytest.mark.skipif(not U2NETP.is_file(), reason="needs U2-NetP in ../shared")
def test_real_weights_are_taken_by_their_path(tmp_path: Path) -> None:
    given = {"source": "path", "location": str(U2NETP), "sha256": None}
    params = params_with(tmp_path, weights__saliency=given)
    fetch(params, tmp_path / "weights")
    checkpoint = load_checkpoint(tmp_path / "weights/saliency.safetensors", kind="weights")
    assert checkpoint.config["source"] == "a file"
    assert len(checkpoint.config["sha256"]) == 64
    network = load_network("saliency", tmp_path / "weights", load_params(params).imagenet_scales["tiny"].networks)
    found = torch.load(U2NETP, weights_only=True)
    assert all(torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items())


def test_another_networks_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    torch.save(U2Net(SMALL).state_dict(), tmp_path / "u2netp.pth")
    given = {"source": "path", "location": str(tmp_path / "u2netp.pth"), "sha256": None}
    params = params_with(tmp_path, weights__saliency=given, networks__saliency="u2net")
    with pytest.raises(InputError, match=r"U2-Net weights: .*u2netp.pth is another network's \(other shapes"):
        fetch(params, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("kind", "which", "expected"),
    [
        ("saliency", {}, r"u2net.pth \(176 MB\)"),
        (
            "inception",
            {},
            r"weights-inception-2015-12-05-6726825d.pth \(91 MB\) of torch-fidelity, from .* or set source",
        ),
        ("classifier", {"name": "resnet50"}, r"torchvision's file of that classifier, such as resnet50-0676ba61.pth"),
    ],
)
def test_a_missing_file_ends_the_check_with_what_to_get_and_where_to_say_so(
    tmp_path: Path, kind: str, which: dict[str, str], expected: str
) -> None:
    given = {"source": "path", "location": "no/such/file.pth", "sha256": None, **which}
    params = params_with(tmp_path, **{f"weights__{kind}": given})
    message = f"imagenet_scales.tiny.weights.{kind}.location: found no file at 'no/such/file.pth', expected {expected}"
    with pytest.raises(ConfigError, match=message):
        check_params(params)


def test_a_missing_folder_of_photographs_ends_the_check(tmp_path: Path) -> None:
    params = params_with(tmp_path, image_quality__real_images="no/such/folder")
    with pytest.raises(ConfigError, match=r"image_quality.real_images: found no folder at 'no/such/folder'"):
        check_params(params)


def test_a_download_that_fails_is_an_io_error_that_names_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.error import URLError  # noqa: PLC0415

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    given = {"source": "download", "location": "https://example.org/u2netp.pth", "sha256": "0" * 8}
    params = params_with(tmp_path, weights__saliency=given)
    with pytest.raises(OSError, match=r"https://example.org/u2netp.pth cannot be downloaded \(no network\)"):
        fetch(params, tmp_path / "weights")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights__saliency": {"source": "path", "location": None, "sha256": None}}, "location: found nothing"),
        (
            {"weights__saliency": {"source": "download", "location": "https://a", "sha256": None}},
            "sha256: found nothing",
        ),
        ({"weights__saliency": {"source": "download", "location": "http://a", "sha256": "0" * 8}}, "starts with https"),
        ({"weights__saliency": {"source": "path", "location": "a", "sha256": "xyz"}}, "expected 8 to 64 digits"),
        ({"weights__biggan": {"source": "path", "location": "a", "sha256": None}}, "found 64 px with channel_width 8"),
        *(
            (
                {f"weights__{kind}": {"source": "none", "location": None, "sha256": None}},
                f"weights.{kind}.source: found 'none', expected random, path or download: nothing goes without",
            )
            for kind in ("biggan", "saliency", "vgg")
        ),
        ({"image_quality__num_splits": 11}, r"score_at: found 10, expected 11, which is num_splits, to 20 images"),
        ({"image_quality__score_at": [21]}, r"score_at: found 21, expected 2, which is num_splits, to 20 images"),
        ({"image_quality__score_at": [10, 5]}, r"score_at: found \[10, 5\], expected rising counts"),
        ({"image_quality__num_images": 1}, r"image_quality.num_images: found 1"),
        ({"networks__channel_width": 12}, "expected a multiple of 8"),
        ({"networks__vgg": "vgg19"}, "networks.vgg: found 'vgg19', .*'vgg16' or 'vgg16_bn'"),
        ({"train__num_processes": 0}, "train.num_processes: found 0"),
        ({"generate__truncation": 0.0}, r"generate.truncation: found 0.0"),
        ({"generate__shape_classes": [0, 1000]}, r"generate.shape_classes.1: found 1000"),
        ({"illustrate__layers": [[0, 1, 1000]]}, r"illustrate.layers.0.2: found 1000"),
        ({"illustrate__layers": [[0, 1]]}, r"illustrate.layers.0: found \[0, 1\]"),
        ({"illustrate__layers": [[0, 1, 2], [0, 1, 2]]}, r"illustrate.layers.1: found \[0, 1, 2\] once more"),
        ({"illustrate__interpolations__pairs": [[0, 1, 2]]}, r"illustrate.interpolations.pairs.0: found"),
        ({"illustrate__interpolations__pairs": [[-1, 1]]}, r"illustrate.interpolations.pairs.0.0: found -1"),
        ({"illustrate__interpolations__columns": 1}, r"illustrate.interpolations.columns: found 1"),
        ({"illustrate__films__classes": [[0, 1, 1.5]]}, r"illustrate.films.classes.0.2: found 1.5"),
        ({"illustrate__films__stops": 1}, r"illustrate.films.stops: found 1"),
        ({"illustrate__films__frames": 0}, r"illustrate.films.frames: found 0"),
        ({"illustrate__films__frames_per_second": 60}, r"illustrate.films.frames_per_second: found 60"),
        ({"illustrate__transformations": [[0, 1, 2]]}, r"illustrate.transformations.0: found"),
        ({"illustrate__failures": 0}, r"illustrate.failures: found 0"),
        ({"illustrate__truncation": 1.5}, r"illustrate.truncation: found 1.5"),
        ({"illustrate__micro_batch": 0}, r"illustrate.micro_batch: found 0"),
    ],
)
def test_bad_sections_name_their_field(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(tmp_path, **changes))


def test_unknown_scales_recipes_and_changes_are_named(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for old, new, message in (
        ("imagenet: []", "imagenet: [huge]", "imagenet: found 'huge', allowed: full, tiny"),
        ("imagenet_recipes: [authors_code]", "imagenet_recipes: [mine]", "found 'mine', allowed: authors_code, paper"),
        (
            "imagenet_changes: [unchanged]",
            "imagenet_changes: [no_l1]",
            "found 'no_l1', allowed: no_background, .*unchanged",
        ),
        (
            "  unchanged: {}\n  no_shape",
            "  unchanged: {lambda_l1: -1.0}\n  no_shape",
            r"imagenet_ablation.unchanged.lambda_l1: found -1.0",
        ),
    ):
        path = tmp_path / "params.yaml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_params(path)
