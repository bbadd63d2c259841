"""Classifiers of natural images whose answers are known, through `predict_imagenet` and `score_imagenet`."""

import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from toy_evaluation import (
    FOREGROUNDS,
    PX,
    Toy,
    by_background,
    by_shape,
    constant,
    encoded,
    list_photographs,
    mask_picture,
    picture,
    write_cues,
    write_in9,
    write_params,
    write_photographs,
)

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.config import ClassifierWeights, load_params
from cgn.data.imagenet9 import VARIANTS, Box, Cutout, blended, mixed
from cgn.encoded import Encoded
from cgn.errors import InputError
from cgn.evaluation import imagenet_predictions
from cgn.evaluation.imagenet_inference import (
    ChallengeSet,
    EvaluationSet,
    Inference,
    predict_challenge,
    predict_set,
)
from cgn.evaluation.imagenet_predictions import HEADS, PREDICTIONS, PREDICTIONS_SCHEMA, read_predictions, writing
from cgn.models.backbones import fetch_backbone, load_backbone
from cgn.models.ensemble import CHECKPOINT_KIND, form_of, headed
from cgn.rng import stream
from cgn.shards.mixes import FG_MASK, mix_samples, read_mixes
from stages import predict_imagenet, score_imagenet

CPU = Inference("float32", 16, torch.device("cpu"), 2)
PAIRS = [(0, 1), (1, 2), (2, 0), (3, 0), (4, 4)]  # categories of shape and texture
TRAIN, VAL = [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What predict_imagenet reads, except the classifier."""
    folder = tmp_path_factory.mktemp("road")
    write_photographs(folder / "train", TRAIN)
    write_photographs(folder / "val", VAL)
    write_cues(folder / "cues", PAIRS)
    write_in9(folder / "in9")
    for name in ("released/original", "released/only_bg_t", "released/fg_mask"):
        for label in range(9):
            path = folder / name / "val" / f"{label:02d}_class" / "a.JPEG"
            path.parent.mkdir(parents=True)
            if name.endswith(FG_MASK):
                np.save(path.with_suffix(".npy"), np.asarray(mask_picture()) > 0)
            else:
                path.write_bytes(encoded(picture(label, label)))
    images: dict[str, Any] = {
        "source": "folder",
        "train": str(folder / "train"),
        "val": str(folder / "val"),
        "val_share": None,
    }
    write_params(
        folder,
        images=images,
        sets__cue_conflict=str(folder / "cues"),
        sets__released_in9=str(folder / "released"),
        in9__masks="saliency",
        evaluate={"num_train": 6, "challenge_backgrounds": None, "batch_size": 5},
    )
    list_photographs(folder / "images", load_params(folder / "params.yaml").imagenet_scales["tiny"].images)
    return folder


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a classifier in place of the checkpoint's."""
    return lambda network: monkeypatch.setattr(
        predict_imagenet, "load_classifier_checkpoint", lambda path, seed: network
    )


def predict(
    road: Path, out: Path, *, params: Path | None = None, checkpoint: Path | None = None, seed: int = 0
) -> Path:
    arguments = {
        "--params": params or road / "params.yaml",
        "--scale": "tiny",
        "--seed": seed,
        "--checkpoint": checkpoint or road,
        "--images": road / "images",
        "--in9": road / "in9",
        "--out": out,
    }
    predict_imagenet.main([str(part) for pair in arguments.items() for part in pair])
    return out


def scored(predictions: Path, target: Path) -> dict[str, Any]:
    score_imagenet.main(["--seed", "0", "--predictions", str(predictions), "--metrics", str(target)])
    metrics: dict[str, Any] = json.loads(target.read_text())
    return metrics


def values(part: Any) -> Any:
    """Metrics without their intervals."""
    if isinstance(part, dict) and {"value", "low", "high"} <= set(part):
        assert part["low"] <= part["value"] + 1e-9
        assert part["value"] <= part["high"] + 1e-9
        return part["value"]
    return {name: values(one) for name, one in part.items()} if isinstance(part, dict) else part


# ---- known answers


def test_one_that_goes_by_the_shape_is_right_wherever_there_is_one(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": by_shape}))
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    found = values(metrics["predictors"]["only"])
    seen = dict.fromkeys(VARIANTS, 1.0)
    # Where there is no object all are called dogs: a ninth is right. Only-BG-T shows the background's colour in the object's place.
    seen |= {"no_fg": 1 / 9, "only_bg_b": 1 / 9}
    assert found["in9"] == pytest.approx(seen)
    assert found["background_gap"] == 0
    assert found["challenge"] == 1
    assert found["released_challenge"] == 1
    assert found["released_in9"] == {
        **dict.fromkeys(VARIANTS),
        "original": 1.0,
        "only_bg_t": 1.0,
    }
    assert found["train"] == found["val"] == {"top1": 1.0, "top5": 1.0}
    assert metrics["protocol"]["num_images"]["train"] == 6
    assert metrics["protocol"]["num_images"]["in9_mixed_rand"] == len(FOREGROUNDS)


def test_one_that_goes_by_the_background_has_the_whole_gap(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": by_background}))
    found = values(scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")["predictors"]["only"])
    seen = dict.fromkeys(VARIANTS, 1.0) | {"mixed_rand": 0.0, "mixed_next": 0.0, "only_fg": 1 / 9}
    assert found["in9"] == pytest.approx(seen)
    assert found["background_gap"] == 1
    assert found["challenge"] == 0
    assert found["released_background_gap"] is None


def test_a_constant_has_no_gap_and_names_one_class(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": constant}))
    found = values(scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")["predictors"]["only"])
    assert found["in9"] == pytest.approx(dict.fromkeys(VARIANTS, 1 / 9))
    assert found["background_gap"] == 0
    assert found["challenge"] == pytest.approx(1 / 9)
    # One of four classes; then come the lowest numbers, of which class 7 is none of the first four.
    assert found["val"] == {"top1": 0.25, "top5": 0.25}


CATEGORY_NUMBERS = [404, 294, 444, 8, 472]  # a class of each of the first five categories


@pytest.mark.parametrize(
    ("read", "counts"),
    [(by_shape, (4, 0)), (by_background, (0, 4)), (lambda pixels: constant(pixels) * 0, (1, 2))],
    ids=["shape", "texture", "always an airplane"],
)
def test_the_shape_bias_is_the_one_that_is_known(
    road: Path, tmp_path: Path, use: Any, read: Any, counts: tuple[int, int]
) -> None:
    use(Toy({"only": read}, numbers=CATEGORY_NUMBERS))
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    found = values(metrics["predictors"]["only"]["cue_conflict"])
    assert found["shape_bias"] == counts[0] / sum(counts)
    assert (found["num_shape"], found["num_texture"]) == counts
    assert found["num_images"] == 4  # of five, one of which contradicts nothing
    assert found["per_category"]["cat"] == [0, 0]
    assert sum(map(sum, found["per_category"].values())) == sum(counts)


def test_a_bias_of_no_decisions_is_an_empty_cell_with_its_reason(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": constant}, numbers=[0, 0, 0, 864]))  # always a truck
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    assert metrics["predictors"]["only"]["cue_conflict"]["shape_bias"] is None
    assert "none decided by shape or texture" in metrics["absent"]["only.cue_conflict.shape_bias"]


def test_an_ensemble_is_scored_once_per_predictor(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"shape": by_shape, "texture": constant, "background": by_background}))
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    found = {name: values(part) for name, part in metrics["predictors"].items()}
    assert list(found) == ["average", "shape_texture", "shape", "texture", "background"]
    assert {name: part["background_gap"] for name, part in found.items()} == {
        # The head of the shape is as sure as the two others together, or surer.
        "average": 0,
        "shape_texture": 0,
        "shape": 0,
        "texture": 0,
        "background": 1,
    }
    assert found["shape"]["in9"]["mixed_rand"] == 1
    assert found["texture"]["in9"]["mixed_rand"] == pytest.approx(1 / 9)
    assert found["texture"]["challenge"] == pytest.approx(1 / 9)
    assert metrics["protocol"]["predictors"]["shape_texture"] == "the mean of the logits of shape, texture"
    assert metrics["heads"] == ["shape", "texture", "background"]


def test_a_classifier_of_nine_classes_is_asked_for_those_alone(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": by_shape}, classes="in9"))
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    found = values(metrics["predictors"]["only"])
    assert metrics["classes"] == "in9"
    assert found["in9"]["mixed_rand"] == found["challenge"] == 1
    for name in ("train", "val", "stylized", "imagenet_a", "imagenet_sketch", "cue_conflict"):
        assert found[name] is None
        assert "nine classes" in metrics["absent"][name]


def test_what_is_missing_is_an_empty_cell_that_says_what_to_get(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": by_shape}))
    metrics = scored(predict(road, tmp_path / "out"), tmp_path / "metrics.json")
    for name in ("stylized", "imagenet_a", "imagenet_sketch"):
        assert metrics["predictors"]["only"][name] is None
        assert metrics["absent"][name].startswith("imagenet_scales.tiny.sets.")
        assert "https://github.com/" in metrics["absent"][name]
    assert "no folder mixed_same" in metrics["absent"]["released_mixed_same"]
    assert metrics["absent"]["released_background_gap"]


def test_a_set_without_masks_has_no_challenge(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"only": by_shape}))
    shutil.copytree(road, tmp_path / "road", ignore=shutil.ignore_patterns("in9", "out*"))
    write_in9(tmp_path / "road/in9", variants=("original", "mixed_same"))
    metrics = scored(predict(tmp_path / "road", tmp_path / "out"), tmp_path / "metrics.json")
    found = metrics["predictors"]["only"]
    assert found["challenge"] is None
    assert metrics["absent"]["challenge"] == "the set has no fg_mask, only_bg_t of part val"
    assert found["in9"]["mixed_rand"] is None
    assert metrics["absent"]["background_gap"] == "mixed_rand absent"
    assert found["in9"]["mixed_same"]["value"] == 1


# ---- the challenge


class Random(nn.Module):
    """An untrained network, of which decisions are as good as random."""

    heads, classes, image_px, resize_px, interpolation = ("only",), "in9", PX, PX, "bilinear"

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Linear(3 * PX * PX, 9)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"only": self.layer(pixels.float().flatten(1)) / 10}


def challenge_of(in9: Path) -> ChallengeSet:
    def of(variant: str) -> EvaluationSet:
        samples, rows = mix_samples(in9, "val", variant), read_mixes(in9, "val", variant)
        known = {"in9_label": rows["label"].to_pylist()}
        return EvaluationSet(variant, samples.images, rows["foreground_image"].to_pylist(), known, photographs=False)

    mask = torch.from_numpy(np.array(mask_picture()))[None]
    mask[:, 10] = 100  # not all of it is hard
    return ChallengeSet("in9", of("original"), lambda _: mask, of("only_bg_t"))


def rows_of(batches: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for columns in batches for row in zip(*columns.values(), strict=True)]


def pixels_of(images: EvaluationSet, place: int) -> Tensor:
    with Image.open(io.BytesIO(images.images[place].read())) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_the_challenge_decides_as_a_loop_over_pairs(road: Path) -> None:
    network, challenge = Random(), challenge_of(road / "in9")
    found = rows_of(predict_challenge(network, challenge, CPU, num_backgrounds=None))
    expected = []
    for place in range(len(FOREGROUNDS)):
        cutout = Cutout(pixels_of(challenge.foregrounds, place), challenge.mask_of(place), Box(0, 0, PX, PX))
        for other in range(len(FOREGROUNDS)):
            one = mixed(cutout, pixels_of(challenge.backgrounds, other))
            expected.append(network(one[None])["only"].half().argmax().item())
    assert [row["predicted"] for row in found] == expected
    assert len(set(expected)) > 1
    assert len({(row["foreground"], row["background"]) for row in found}) == len(FOREGROUNDS) ** 2


def test_backgrounds_are_drawn_once_for_all_classifiers(road: Path) -> None:
    challenge = challenge_of(road / "in9")
    drawn, others, every = (
        rows_of(predict_challenge(network, challenge, CPU, num_backgrounds=num))
        for network, num in ((Random(), 3), (Toy({"only": by_shape}, classes="in9"), 3), (Random(), 100))
    )
    pairs = [(row["foreground"], row["background"]) for row in drawn]
    assert pairs == [(row["foreground"], row["background"]) for row in others]
    assert len(set(pairs)) == 3 * len(FOREGROUNDS)
    assert len({background for _, background in pairs}) > 9  # not the same three before every one
    decided = {(row["foreground"], row["background"]): row["predicted"] for row in every}
    assert len(decided) == len(FOREGROUNDS) ** 2  # more than there are is all of them
    assert [row["predicted"] for row in drawn] == [decided[pair] for pair in pairs]


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_composites_are_rounded(front: int, mask: int, back: int) -> None:
    one = [
        torch.full((1, channels, 1, 1), value, dtype=torch.uint8)
        for value, channels in ((front, 3), (mask, 1), (back, 3))
    ]
    exact = (front * mask + back * (255 - mask)) / 255
    assert abs(blended(*one).flatten()[0].item() - exact) <= 0.5


def test_composites_of_another_size_are_resized_whole(road: Path) -> None:
    network = Toy({"only": by_shape}, classes="in9")
    network.image_px = PX * 2
    challenge = challenge_of(road / "in9")
    found = rows_of(predict_challenge(network, challenge, CPU, num_backgrounds=1))
    assert all(row["predicted"] == row["in9_label"] for row in found)


def test_a_mask_of_another_size_is_refused(road: Path) -> None:
    challenge = challenge_of(road / "in9")._replace(mask_of=lambda _: torch.zeros(1, 8, PX, dtype=torch.uint8))
    with pytest.raises(
        InputError, match=r"in9, 0-0 before .*: found an object, its mask and a background of 32 x 32, 32 x 8"
    ):
        rows_of(predict_challenge(Random(), challenge, CPU, num_backgrounds=1))


# ---- inference


def test_predictions_do_not_depend_on_how_many_threads_decode(road: Path, tmp_path: Path, use: Any) -> None:
    use(Toy({"shape": by_shape, "texture": constant, "background": by_background}))
    contents = []
    for threads in (1, 3):
        params = write_params_like(road, tmp_path, threads)
        out = predict(road, tmp_path / f"out-{threads}", params=params)
        contents.append([path.read_bytes() for path in sorted(out.iterdir())])
    assert contents[0] == contents[1]
    again = predict(road, tmp_path / "out-1", params=write_params_like(road, tmp_path, 1))
    assert [path.read_bytes() for path in sorted(again.iterdir())] == contents[0]


def write_params_like(road: Path, folder: Path, threads: int) -> Path:
    text = (road / "params.yaml").read_text(encoding="utf-8")
    path = folder / "params.yaml"
    path.write_text(text.replace("threads: 1", f"threads: {threads}"), encoding="utf-8")
    return path


def test_only_some_images_are_decoded_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(0, 0).save(path)
    started: list[int] = []

    class Noted(Encoded):
        def read(self) -> bytes:
            started.append(threading.get_ident())
            return super().read()

    num = 40 * CPU.batch_size
    images = EvaluationSet(
        "val", [Noted(path)] * num, [str(n) for n in range(num)], {"label": [151] * num}, photographs=False
    )
    batches = predict_set(Toy({"only": by_shape}), images, CPU)
    for done in range(1, 4):
        next(batches)
        assert len(started) <= (done + 2) * CPU.batch_size
    batches.close()  # type: ignore[attr-defined]
    assert len(started) < num / 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), r"val_2\.\w+ is not the file that was listed"),
        (lambda path: path.unlink(), r"val_2\.\w+ is missing, but was there when images were listed"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_left(
    road: Path, tmp_path: Path, use: Any, spoil: Any, message: str
) -> None:
    use(Toy({"only": by_shape}))
    path = next((road / "val").rglob("val_2.JPEG"))
    whole = path.read_bytes()
    spoil(path)
    try:
        with pytest.raises(InputError, match=message):
            predict(road, tmp_path / "out")
    finally:
        path.write_bytes(whole)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "RGBA", "I;16", "turned"])
def test_pictures_of_any_kind_are_read(tmp_path: Path, mode: str) -> None:
    image, path = picture(1, 2), tmp_path / "a.png"
    if mode == "turned":  # the object in the left half, by EXIF to be turned by 90 degrees: then in the upper half
        image = picture(1, 2).crop((0, 0, PX, PX))
        image.paste(picture(2, 2), (PX // 2, 0))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    elif mode == "CMYK":
        path = tmp_path / "a.jpg"
        image.convert(mode).save(path, quality=95)
    elif mode == "I;16":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    else:
        (image.quantize() if mode == "P" else image.convert(mode)).save(path)
    seen: list[Tensor] = []

    def note(pixels: Tensor) -> Tensor:
        seen.append(pixels)
        return by_background(pixels)

    images = EvaluationSet("val", [Encoded(path)], ["a"], {"label": [0]}, photographs=False)
    list(predict_set(Toy({"only": note}), images, CPU))
    (pixels,) = seen
    assert pixels.shape == (1, 3, PX, PX)
    if mode == "turned":
        above, below = pixels[0, 0, PX // 2 - 2, PX // 2], pixels[0, 0, PX // 2 + 2, PX // 2]
        assert (above.item(), below.item()) == (42, 56)
    else:
        assert (by_shape(pixels).item(), by_background(pixels).item()) == (1, 2)


def test_photographs_are_cut_and_images_made_for_classifiers_are_not(tmp_path: Path) -> None:
    wide = Image.new("RGB", (3 * PX, PX))
    wide.paste(picture(1, 2), (PX, 0))
    path = tmp_path / "a.png"
    wide.save(path)
    seen: list[Tensor] = []

    def note(pixels: Tensor) -> Tensor:
        seen.append(pixels)
        return by_background(pixels)

    for photographs in (True, False):
        images = EvaluationSet("val", [Encoded(path)], ["a"], {"label": [0]}, photographs=photographs)
        list(predict_set(Toy({"only": note}), images, CPU))
    assert torch.equal(seen[0][0], torch.from_numpy(np.array(picture(1, 2))).permute(2, 0, 1))
    assert seen[1][0, :, :, : PX // 4].max() == 0  # the black beside it
    assert by_shape(seen[1]).item() == 1


def test_logits_that_are_not_finite_are_refused(road: Path, tmp_path: Path, use: Any) -> None:
    network = Toy({"only": by_shape})
    network.forward = lambda pixels: {"only": torch.full((len(pixels), 1000), float("nan"))}  # type: ignore[method-assign]
    use(network)
    with pytest.raises(InputError, match="train: found logits that are not finite"):
        predict(road, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# ---- with a checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained classifier with three heads."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = ClassifierWeights(source="random", name="squeezenet1_1", location=None, sha256=None)
    fetch_backbone(config, folder / "backbone")
    backbone = load_backbone(folder / "backbone")
    form = form_of(backbone, heads=HEADS, classes="imagenet", cut=1, linear=False, image_px=PX)
    network = headed(backbone, form, seed=0, config={"method": {"rule": "ensemble"}})
    save_checkpoint(
        folder / FILE_NAME, network.state_dict(), kind=CHECKPOINT_KIND, config=network.config, trained_on=""
    )
    return folder


def test_an_untrained_ensemble_goes_the_whole_way(road: Path, tmp_path: Path, checkpoint: Path) -> None:
    metrics = scored(predict(road, tmp_path / "out", checkpoint=checkpoint), tmp_path / "metrics.json")
    assert list(metrics["predictors"]) == ["average", "shape_texture", *HEADS]
    protocol = metrics["protocol"]
    assert protocol["classifier"]["method"] == {"rule": "ensemble"}
    assert protocol["classifier"]["backbone"]["name"] == "squeezenet1_1"
    assert protocol["photographs"].startswith("the shorter side to 37 px (bilinear, antialiased), the middle 32 px")
    assert protocol["mean"] == [0.485, 0.456, 0.406]


def test_a_checkpoint_of_another_seed_is_refused(road: Path, tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors: found seed 0, expected 1"):
        predict(road, tmp_path / "out", checkpoint=checkpoint, seed=1)


# ---- tables in parts


def test_a_table_is_written_and_read_in_parts(
    road: Path, tmp_path: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Toy({"shape": by_shape, "texture": constant, "background": by_background}))
    whole = predict(road, tmp_path / "whole")
    monkeypatch.setattr(imagenet_predictions, "_BYTES_PER_GROUP", 1)
    parts = predict(road, tmp_path / "parts")
    assert pq.ParquetFile(whole / PREDICTIONS).num_row_groups == 1
    assert pq.ParquetFile(parts / PREDICTIONS).num_row_groups > 20
    assert pq.read_table(parts / PREDICTIONS).equals(pq.read_table(whole / PREDICTIONS))
    assert scored(parts, tmp_path / "parts.json") == scored(whole, tmp_path / "whole.json")


def test_what_was_written_is_read() -> None:
    assert [field.name for field in PREDICTIONS_SCHEMA] == ["set", "key", "head", *imagenet_predictions.KNOWN, "logits"]


def test_float16_logits_come_back_as_they_were(tmp_path: Path) -> None:
    logits = torch.randn(4, 9, generator=stream(0, "logits")).half()
    metadata = {"classes": "in9", "heads": ["only"], "protocol": {}, "absent": {}}
    keys = list("abcd")
    with writing(tmp_path / PREDICTIONS, PREDICTIONS_SCHEMA, metadata) as table:
        table.add(imagenet_predictions.head_rows("in9_no_fg", keys, {"in9_label": [0, 1, 2, 3]}, {"only": logits}))
    (found,) = read_predictions(tmp_path / PREDICTIONS)
    assert (found.set, found.keys, found.known["in9_label"], found.known["label"]) == (
        "in9_no_fg",
        keys,
        [0, 1, 2, 3],
        [None] * 4,
    )
    assert torch.equal(found.logits["only"], logits)
