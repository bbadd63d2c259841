"""Facts about where classifiers of natural images look: explainers on networks with known answers, and the stage on drawn images."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import UInt8
from made_mixes import write_mixes
from made_scores import HEADS, params_with
from PIL import Image
from torch import Tensor, nn

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.config import ClassifierWeights, ExplainConfig
from cgn.data.imagenet_classes import IN9
from cgn.errors import InputError
from cgn.evaluation import imagenet_attribution as attribution
from cgn.evaluation import imagenet_overlays as overlays
from cgn.evaluation.imagenet_explained import cases, read_explained, shares_table
from cgn.models.backbones import fetch_backbone, load_backbone
from cgn.models.ensemble import CHECKPOINT_KIND, ClassifierForm, HeadedClassifier, form_of, headed
from cgn.shards.mixes import FG_MASK, Sample
from stages import explain_imagenet

SIDE = 32
CONFIG = ExplainConfig(num_images=4, occlusion_px=8, lime_samples=60)
CLASSES = {"dog": 151, "bird": 7, "fish": 0}  # numbers of ImageNet


class _Brightness(nn.Module):
    """Maps of a network that sees brightness in one half of an image and nothing else, by head."""

    def __init__(self, half: str) -> None:
        super().__init__()
        mask = torch.zeros(1, 1, SIDE, SIDE)
        mask[..., : SIDE // 2] = 1
        self.register_buffer("region", mask if half == "left" else 1 - mask)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(1, keepdim=True) * self.region * self.weight


def looking_at(half: str, *, heads: Sequence[str] = ("only",), classes: str = "in9") -> HeadedClassifier:
    """A classifier of which every head answers class 2 the surer, the brighter one half of an image is."""
    num = {"in9": 9, "imagenet": 1000}[classes]
    last = nn.Linear(1, num)
    with torch.no_grad():
        last.weight.zero_()[2] = 10.0
        last.bias.zero_()
    network = nn.Sequential(_Brightness(half), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    form = ClassifierForm(tuple(heads), classes, 1, False, SIDE, SIDE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    found = HeadedClassifier(network, form, name="brightness", config={})
    for head in heads:
        found.last_layer_of(head).load_state_dict(last.state_dict())
    return found.eval()


def bright(num: int = 2) -> UInt8[Tensor, "num 3 side side"]:
    return torch.full((num, 3, SIDE, SIDE), 200, dtype=torch.uint8)


def half_masks(half: str, num: int = 2) -> Tensor:
    left = torch.zeros(num, 1, SIDE, SIDE)
    left[..., : SIDE // 2] = 1
    return left if half == "left" else 1 - left


def looks(explainer: str, network: HeadedClassifier, heads: Sequence[str]) -> dict[str, attribution.Maps]:
    classes = {head: torch.tensor([2, 2]) for head in heads}
    return attribution.explain(explainer, attribution.Question(network, bright(), classes), CONFIG, seed=0)


@pytest.mark.parametrize("half", ["left", "right"])
@pytest.mark.parametrize("explainer", attribution.EXPLAINERS)
def test_every_explainer_finds_what_a_network_goes_by(explainer: str, half: str) -> None:
    maps = looks(explainer, looking_at(half), ["only"])["only"]
    assert maps.shape == (2, 1, SIDE, SIDE)
    assert maps.min() >= 0
    other = {"left": "right", "right": "left"}[half]
    on, off = (attribution.mean_share(maps, half_masks(side)) for side in (half, other))
    assert on is not None
    assert off is not None
    assert (on.value > 0.9, on.num_images) == (True, 2)
    assert on.value + off.value == pytest.approx(1)


@pytest.mark.parametrize("explainer", attribution.EXPLAINERS)
def test_heads_are_explained_each_by_its_own_logits_as_if_alone_and_twice_alike(explainer: str) -> None:
    network = looking_at("left", heads=HEADS)
    with torch.no_grad():
        network.last_layer_of("texture").weight.zero_()[1] = 10.0
        network.last_layer_of("background").weight[2] = 5.0
    maps = looks(explainer, network, HEADS)
    assert maps["texture"].sum() < 1e-3 * maps["shape"].sum(), "it does not answer class 2 by brightness"
    assert torch.allclose(maps["background"], maps["shape"] / 2, atol=1e-4 * maps["shape"].max().item())
    for head in HEADS:
        assert torch.equal(looks(explainer, network, [head])[head], maps[head])


def test_what_perturbs_pictures_asks_the_network_once_for_all_heads() -> None:
    network = looking_at("left", heads=HEADS)
    asked: list[int] = []
    network.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    for explainer in (attribution.OCCLUSION, attribution.LIME):
        counts = []
        for heads in (("shape",), HEADS):
            asked.clear()
            looks(explainer, network, heads)
            counts.append(sum(asked))
        assert counts[0] == counts[1] > 0


def test_explaining_draws_nothing_from_the_global_generator() -> None:
    network = looking_at("left")
    before = torch.get_rng_state()
    looks(attribution.LIME, network, ["only"])
    assert torch.equal(torch.get_rng_state(), before)


def test_images_without_attribution_do_not_count_and_a_single_one_has_no_mean() -> None:
    maps = torch.zeros(3, 1, 2, 2)
    maps[0, 0, 0, 0], maps[1, 0, 1, 1] = 1.0, 3.0
    objects = torch.zeros(3, 1, 2, 2)
    objects[..., 0, :] = 1
    assert attribution.shares_on(maps, objects) == [1.0, 0.0, None]
    share = attribution.mean_share(maps, objects)
    assert share == attribution.Share(0.5, 0.5, 2)
    assert attribution.mean_share(maps[1:], objects[1:]) is None


def test_answers_are_the_five_likeliest_with_their_probabilities() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]])
    (answer,) = attribution.answers(logits)
    assert answer.classes == [1, 2, 0, 3, 4]
    assert answer.probabilities == pytest.approx(logits.softmax(1)[0, [1, 2, 0, 3, 4]].tolist())


def test_class_names_are_imagenets() -> None:
    names = attribution.class_names("imagenet")
    assert (len(names), names[0], names[207], names[999]) == (1000, "tench", "golden retriever", "toilet tissue")
    assert attribution.class_names("in9") == tuple(IN9)


def test_heads_that_name_two_dogs_agree_and_two_classes_outside_do_not() -> None:
    def logits(*classes: int) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(classes), 1000).float()

    heads = {
        "shape": logits(151, 151, 440, 440),
        "texture": logits(207, 7, 441, 440),
        "background": logits(268, 0, 442, 151),
    }
    assert attribution.num_opinions(heads, "imagenet") == [1, 3, 3, 2]
    nine = {"shape": torch.eye(9)[:2], "texture": torch.eye(9)[[0, 3]]}
    assert attribution.num_opinions(nine, "in9") == [1, 2]


def test_images_on_which_heads_disagree_are_explained_first() -> None:
    assert attribution.chosen([[1, 3, 1, 2], [1, 1, 1, 2]], 4, 3) == [1, 3, 0]
    assert attribution.chosen([], 4, 2) == [0, 1]
    assert attribution.chosen([[1, 1]], 2, 5) == [0, 1]


def test_overlays_are_bright_where_heat_is_and_outline_the_object() -> None:
    picture = torch.full((3, SIDE, SIDE), 128, dtype=torch.uint8)
    heat = torch.zeros(1, SIDE, SIDE)
    heat[0, 20:28, 20:28] = 5.0
    mask = torch.zeros(1, SIDE, SIDE)
    mask[0, 4:12, 4:12] = 1
    found = overlays.overlay(picture, heat, mask)
    assert found[:, 24, 24].float().mean() > found[:, 16, 4].float().mean()
    turquoise = torch.tensor([64, 224, 208], dtype=torch.uint8)
    assert torch.equal(found[:, 4, 4], turquoise)
    assert not torch.equal(found[:, 8, 8], turquoise), "the inside of an object is no outline"
    assert (found == turquoise[:, None, None]).all(0).sum() == 8 * 8 - 6 * 6
    nothing = overlays.overlay(picture, torch.zeros(1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE))
    assert (nothing == nothing[0, 0, 0]).all(), "no heat and no object: plain grey"
    assert overlays.strip([found, nothing]).size == (2 * SIDE + overlays.GAP_PX, SIDE)


# ---- the stage


def _encoded(picture: Image.Image, form: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, form)
    return content.getvalue()


def write_in9(folder: Path, *, num: int = 3, without_mask: str = "") -> Path:
    """A few drawn images per class: a bright square left or right on noise."""
    rng = torch.Generator().manual_seed(0)
    samples: dict[tuple[str, str], list[Sample]] = {("val", name): [] for name in (FG_MASK, "mixed_rand", "original")}
    for label, (name, number) in enumerate(CLASSES.items()):
        place = tuple(IN9).index(name)
        for index in range(num):
            mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
            left = 4 + 12 * (index % 2)
            mask[8 : 20 + label, left : left + 12] = 255
            noise = torch.randint(60, (SIDE, SIDE, 3), generator=rng, dtype=torch.uint8)
            picture = torch.where(mask[..., None] > 0, 200 + noise // 2, noise)
            stem = f"{name}_{index}"
            for variant, behind in (("original", number), ("mixed_rand", CLASSES["fish"])):
                content = _encoded(Image.fromarray(picture.numpy()), "JPEG")
                samples["val", variant].append(Sample(content, place, number, stem, behind, stem))
            if stem != without_mask:
                content = _encoded(Image.fromarray(mask.numpy()), "PNG")
                samples["val", FG_MASK].append(Sample(content, place, number, stem, None, None))
    write_mixes(folder / "in9", samples, images_per_shard=5, seed=0)
    return folder / "in9"


def save(network: HeadedClassifier, folder: Path, name: str) -> None:
    target = folder / "checkpoints" / name / "0" / FILE_NAME
    save_checkpoint(target, network.state_dict(), kind=CHECKPOINT_KIND, config=network.config, trained_on="")


def write_checkpoints(folder: Path, names: dict[str, tuple[str, ...]]) -> Path:
    """Untrained classifiers, a name and its heads each."""
    config = ClassifierWeights(source="random", name="squeezenet1_1", location=None, sha256=None)
    fetch_backbone(config, folder / "backbone")
    backbone = load_backbone(folder / "backbone")
    for seed, (name, heads) in enumerate(names.items()):
        classes = "in9" if name == "mixed_rand" else "imagenet"
        form = form_of(backbone, heads=heads, classes=classes, cut=1, linear=False, image_px=SIDE)
        network = headed(backbone, form, seed=0, config={})
        if len(heads) > 1:  # heads that were never trained say the same
            for number, head in enumerate(heads):
                nn.init.normal_(
                    network.last_layer_of(head).weight, std=0.5, generator=torch.Generator().manual_seed(number + seed)
                )
        save(network, folder, name)
    return folder / "checkpoints"


NAMES = {"original": ("only",), "mixed_rand": ("only",), "authors_code-unchanged-cgn_ensemble": HEADS}


def explain(folder: Path, in9: Path, **lists: object) -> Path:
    given = params_with(folder).model_dump(mode="json")
    scales = given["imagenet_scales"]
    scales["tiny"]["explain"] = CONFIG.model_dump() | {"lime_samples": 20}
    compute = given["compute"] | {"threads": 1}  # tests run side by side
    params_with(
        folder, imagenet_scales=scales, compute=compute, **{"imagenet_classifiers": ["original", "mixed_rand"], **lists}
    )
    folders = {"checkpoints": folder / "checkpoints", "in9": in9, "out": folder / "out"}
    options = ["--params", str(folder / "params.yaml"), "--scale", "tiny"]
    explain_imagenet.main([*options, *(word for name, path in folders.items() for word in (f"--{name}", str(path)))])
    return folder / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    write_checkpoints(folder, NAMES)
    explain(folder, write_in9(folder))
    return folder


def test_the_stage_explains_every_classifier_that_the_lists_name_and_the_report_reads_it(explained: Path) -> None:
    params = params_with(explained, imagenet_classifiers=["original", "mixed_rand"])
    found = read_explained(explained / "out", params, scale="tiny")
    content = found.content
    assert list(content["classifiers"]) == list(NAMES)
    assert [list(one["heads"]) for one in content["classifiers"].values()] == [list(heads) for heads in NAMES.values()]
    assert content["protocol"]["num_images"] == {"original": 4, "mixed_rand": 4}
    assert {row.label for row in shares_table(found).rows} == {"an even spread", "IN", "Mixed-Rand", "IN + CGN"}
    shown = cases(found)
    assert all(path.is_file() for case in shown for path in (case.picture, *(one.picture for one in case.ensembles)))
    assert len(shown[0].others[0].answers) == 5
    assert {case.label for case in shown} <= set(CLASSES)
    assert {case.background for case in shown} == {None, "fish"}


def test_disagreement_is_counted_and_comes_first(explained: Path) -> None:
    content = json.loads((explained / "out/explained.json").read_text())
    ensemble = "authors_code-unchanged-cgn_ensemble"
    for images in content["images"].values():
        opinions = [image["num_opinions"][ensemble] for image in images]
        assert opinions == sorted(opinions, reverse=True)
        assert opinions[0] > 1
    first = {
        head: by_variant["original"]["images"][0]["answers"][0][0]
        for head, by_variant in content["classifiers"][ensemble]["heads"].items()
    }
    assert len(set(first.values())) > 1


def test_areas_are_those_of_the_masks_and_answers_are_probabilities(explained: Path) -> None:
    content = json.loads((explained / "out/explained.json").read_text())
    for image in content["images"]["original"]:
        rows = 12 + list(CLASSES).index(image["label"])
        assert image["object_area"] == pytest.approx(rows * 12 / SIDE**2)
    for one in content["classifiers"].values():
        for by_variant in one["heads"].values():
            for image in by_variant["original"]["images"]:
                shares = [share for _, share in image["answers"]]
                assert shares == sorted(shares, reverse=True)
                assert 0 < sum(shares) <= 1 + 1e-9


def test_explaining_twice_writes_the_same_bytes(explained: Path) -> None:
    before = contents(explained / "out")
    assert len([name for name in before if name.endswith(".png")]) == 8 + 8 * 5
    explain(explained, explained / "in9")
    assert contents(explained / "out") == before


def test_a_backbone_without_maps_has_a_reason_in_place_of_grad_cam(
    explained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> nn.Module:
        raise InputError("backbone vit_b_16: found no maps")

    monkeypatch.setattr(HeadedClassifier, "grad_cam_layer_of", none)
    (tmp_path / "checkpoints").symlink_to(explained / "checkpoints")
    out = explain(tmp_path, explained / "in9", imagenet_classifiers=["original"], imagenet_mixes=[])
    (head,) = json.loads((out / "explained.json").read_text())["classifiers"]["original"]["heads"].values()
    assert head["original"]["absent"]["grad_cam"] == "backbone vit_b_16: found no maps"
    assert "grad_cam" not in head["original"]["share"]
    params = params_with(tmp_path, imagenet_classifiers=["original"], imagenet_mixes=[])
    cell = shares_table(read_explained(out, params, scale="tiny")).rows[1].cells[0]
    assert str(cell) == "not measured: backbone vit_b_16: found no maps"


def test_an_image_without_a_mask_a_checkpoint_of_another_seed_and_a_missing_one_are_refused(
    explained: Path, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").symlink_to(explained / "checkpoints")
    with pytest.raises(InputError, match="no fg_mask of bird_1, expected one of every image of original"):
        explain(tmp_path, write_in9(tmp_path, without_mask="bird_1"))
    with pytest.raises(InputError, match=r"swaps/0/model\.safetensors is missing"):
        explain(tmp_path, explained / "in9", imagenet_classifiers=["swaps"])
    moved = tmp_path / "other/checkpoints/original/1"
    moved.mkdir(parents=True)
    (moved / FILE_NAME).write_bytes((explained / "checkpoints/original/0" / FILE_NAME).read_bytes())
    with pytest.raises(InputError, match=r"original/1/model\.safetensors: found seed 0, expected 1"):
        explain(tmp_path / "other", explained / "in9", imagenet_classifiers=["original"], imagenet_mixes=[], seeds=[1])
    assert not (tmp_path / "out").exists()
