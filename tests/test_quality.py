"""Facts about what is measured of counterfactuals and of where classifiers look, on inputs whose answer is known."""

import json
from pathlib import Path

import pytest
import torch
from tiny_generators import PARAMS
from tiny_pipeline import Project, write_params
from torch import Tensor, nn

from cgn.errors import InputError
from cgn.evaluation import attribution, quality
from cgn.generators.collapse import MaskStatistics
from cgn.models.classifiers import Cnn
from cgn.rng import stream
from stages.ablate import would_be_refused


def pixels(value: int, *, batch: int = 2) -> Tensor:
    return torch.full((batch, 3, 4, 4), value, dtype=torch.uint8)


LEFT = torch.tensor([True, True, False, False]).expand(2, 1, 4, 4)


# ---- counterfactuals


def test_effectiveness_counts_what_a_judge_sees() -> None:
    assert quality.effectiveness(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 0])) == 0.5
    with pytest.raises(InputError, match="found no image"):
        quality.effectiveness(torch.tensor([]).long(), torch.tensor([]).long())


def test_composition_is_the_mean_difference_of_levels() -> None:
    assert quality.composition(pixels(7), pixels(7)) == 0
    assert quality.composition(pixels(0), pixels(51)) == pytest.approx(0.2)


def test_minimality_is_the_share_of_change_inside_the_region() -> None:
    after = pixels(10)
    after[..., :2] = 40  # 30 levels to the left
    after[..., 2:] = 20  # 10 to the right
    assert quality.minimality(pixels(10), after, LEFT) == pytest.approx(0.75)
    assert quality.minimality(pixels(10), after, ~LEFT) == pytest.approx(0.25)
    assert quality.minimality(after, after, LEFT) == 1


def test_the_frechet_distance_of_normal_distributions_is_its_closed_form() -> None:
    found = torch.randn(200_000, 3, generator=stream(0))
    moved = 2 * torch.randn(200_000, 3, generator=stream(1)) + torch.tensor([3.0, 0.0, 0.0])
    assert quality.frechet_distance(found, found) == pytest.approx(0, abs=1e-6)
    assert quality.frechet_distance(found, moved) == pytest.approx(9 + 3 * (2 - 1) ** 2, rel=0.02)
    with pytest.raises(InputError, match="found 3 images for 3 features"):
        quality.frechet_distance(found[:3], found)


def test_diversity_is_measured_inside_classes() -> None:
    features = torch.tensor([[0.0, 0.0], [100.0, 0.0], [3.0, 4.0], [100.0, 1.0]])
    assert quality.diversity(features, torch.tensor([0, 1, 0, 1])) == pytest.approx((5 + 1) / 2)


def masks_of(*columns: int) -> Tensor:
    """Masks of 4x4 pixels whose first so many columns are object; one per class."""
    masks = torch.zeros(len(columns), 1, 4, 4)
    for mask, filled in zip(masks, columns, strict=True):
        mask[..., :filled] = 1
    return masks


def test_masks_are_held_against_the_nearest_digit_of_their_class_up_to_inversion() -> None:
    labels = torch.arange(10)
    real = torch.cat([masks_of(*[2] * 10), masks_of(*[3] * 10)])
    found = masks_of(2, 1, 3, *[2] * 6, 2)
    found[9] = 1 - found[9]  # the right two columns: the complement of a digit
    overlap = quality.nearest_iou(found, labels, real, labels.repeat(2))
    assert overlap == pytest.approx([1, 0.5, 1, *[1] * 7])
    with pytest.raises(InputError, match="found 1 masks and 0 digits"):
        quality.nearest_iou(found, labels, real[:5], labels[:5])


# ---- where classifiers look


class Reader(Cnn):
    """A classifier of one pixel block: class 1 is as likely as its red is bright."""

    def __init__(self) -> None:
        nn.Sequential.__init__(self, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10, bias=False))
        with torch.no_grad():
            self[2].weight.zero_()
            self[2].weight[1, 5] = 1.0  # red, second row of blocks, second column


def test_attributions_fall_where_a_classifier_looks() -> None:
    images = torch.rand(3, 3, 32, 32, generator=stream(0))
    classes = torch.ones(3, dtype=torch.int64)
    block = torch.zeros(3, 1, 32, 32)
    block[..., 8:16, 8:16] = 1
    for explain in (attribution.integrated_gradients, attribution.lime):
        for nothing in (attribution.GREY, attribution.BLACK):
            maps = explain(Reader(), images, classes, nothing)
            assert maps.shape == (3, 1, 32, 32)
            assert attribution.share_on(maps, block)[0] > 0.99
    twice = [attribution.lime(Reader(), images, classes, attribution.GREY) for _ in range(2)]
    assert torch.equal(*twice)


def test_a_plain_black_background_has_no_attribution_from_black() -> None:
    torch.manual_seed(0)
    network, images = Cnn().eval(), torch.full((4, 3, 32, 32), -1.0)
    images[:, :, 8:16, 8:16] = torch.rand(4, 3, 8, 8, generator=stream(0))
    block = torch.zeros(4, 1, 32, 32)
    block[..., 8:16, 8:16] = 1
    shares = [
        attribution.share_on(attribution.integrated_gradients(network, images, torch.arange(4), nothing), block)[0]
        for nothing in (attribution.BLACK, attribution.GREY)
    ]
    assert shares[0] == pytest.approx(1)
    assert shares[1] < 0.5


def test_grad_cam_is_the_maps_weighted_by_their_gradients() -> None:
    torch.manual_seed(0)
    network, images = Cnn().eval(), torch.randn(4, 3, 32, 32, generator=stream(0))
    classes = torch.arange(4)
    maps = network.maps(images).detach().requires_grad_()
    network.classify(maps).gather(1, classes[:, None]).sum().backward()
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    small = torch.relu((weights * maps).sum(1, keepdim=True)).detach()
    expected = nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    assert torch.allclose(attribution.grad_cam(network, images, classes, attribution.GREY), expected, atol=1e-6)


def test_the_share_on_the_digit_is_a_mean_over_explained_images() -> None:
    maps = torch.zeros(3, 1, 2, 2)
    maps[0, 0, 0] = 1.0
    maps[1, 0, :, 0] = 2.0
    objects = torch.zeros(3, 1, 2, 2)
    objects[:, :, 0] = 1
    error = 0.5 / 2**0.5 / 2**0.5  # the standard deviation of 1 and 0.5, over the root of their number
    assert attribution.share_on(maps, objects) == pytest.approx(((1 + 0.5) / 2, error))
    with pytest.raises(InputError, match="expected the same"):
        attribution.share_on(maps, objects[:2])
    with pytest.raises(InputError, match="found 1 images"):
        attribution.share_on(maps[1:], objects[1:])


def test_features_of_one_place_per_class_have_all_their_variance_between_classes() -> None:
    labels = torch.arange(3).repeat(5)
    apart = torch.eye(3)[labels]
    assert attribution.variance_share(apart, labels) == pytest.approx(1)
    assert attribution.variance_share(apart, labels.roll(1)) == pytest.approx(1)
    assert attribution.variance_share(apart, torch.arange(15) // 5) < 0.2
    places = attribution.principal_components(apart + 0.01 * torch.randn(15, 3, generator=stream(0)))
    assert places.shape == (15, 2)
    assert places[:, 0].std() >= places[:, 1].std()


# ---- the stages that measure


def test_a_generators_measures_are_written_beside_its_grid(finished: Project) -> None:
    numbers = json.loads((finished.root / "metrics" / "double_colored" / "quality" / "cgn-0.json").read_text())
    assert set(numbers["effectiveness"]) == set(numbers["minimality"]) == {"shape", "texture", "background"}
    assert numbers["composition"] == 0
    assert len(numbers["mask_iou_per_class"]) == 10
    assert set(numbers["unbiased"]["effectiveness"]) == set(numbers["judge_accuracy"]) == set(numbers["effectiveness"])
    assert numbers["unbiased"]["fid"] > 0
    assert numbers["attempts"] == 1
    assert (finished.root / "measured" / "double_colored" / "cgn" / "0" / "factors.png").is_file()


def test_every_listed_classifier_is_explained(finished: Project) -> None:
    numbers = json.loads((finished.root / "metrics" / "double_colored" / "explained.json").read_text())
    assert set(numbers["classifiers"]) == {"original", "cgn-original_cf"}
    for one in numbers["classifiers"].values():
        assert set(one["digit_share"]) == set(one["digit_share_error"]) == set(attribution.EXPLAINERS)
        assert all(0 <= share <= 1 for share in (*one["digit_share"].values(), *one["variance_by"].values()))


def test_a_cell_of_the_sweep_sees_as_many_images_whatever_it_is_made_of(finished: Project) -> None:
    cells = [finished.sweep(images=60), finished.sweep(images=120, ratio=5), finished.sweep(images=600, real=25)]
    contents = [json.loads(path.read_text()) for path in cells]
    assert {content["images_seen"] for content in contents} == {640}
    assert all(set(content["accuracy"]) == {"test"} for content in contents)
    assert [content["shapes"] for content in contents] == [60, 24, 500]  # there are 500 training images
    before = cells[0].read_bytes()
    assert finished.sweep(images=60).read_bytes() == before
    with pytest.raises(InputError, match="--cf-ratio and --real-percent: found 61 and 0, expected 1 to 60"):
        finished.sweep(images=60, ratio=61)


def test_an_ablation_changes_one_thing_and_measures_what_becomes_of_it(finished: Project) -> None:
    folder = finished.root / "metrics" / "double_colored" / "ablation"
    cells = {change: json.loads(finished.ablate(change).read_text()) for change in ("unchanged", "no_similarity")}
    cells["no_binary"] = json.loads((folder / "cgn-no_binary-0.json").read_text())
    for cell in cells.values():
        assert list(cell) == ["accuracy", "statistics", "collapsed", "mask_iou", "worst_mask_iou"]
        assert set(cell["accuracy"]) == {"test"}
        assert 0 <= cell["worst_mask_iou"] <= cell["mask_iou"] <= 1
        assert cell["collapsed"] == 0  # the limits here refuse nothing
    assert len({json.dumps(cell["statistics"]) for cell in cells.values()}) == 3
    record = json.loads((finished.root / "records" / "cgn" / "record.json").read_text())
    assert cells["unchanged"]["statistics"] == record["final"]
    page = (finished.root / "report" / "index.html").read_text(encoding="utf-8")
    assert "One thing changed" in page
    assert "cgn, no binary" in page


def test_a_late_collapse_of_an_ablation_is_one_though_it_ends_well() -> None:
    good = MaskStatistics(0.15, 0.9, 0.01, 0.1, 0.1, 0.05)
    bad = good._replace(mask_mean=0.9)
    limits = PARAMS.generator["cgn"].collapse.model_copy(update={"after_share": 0.5})

    def refused(at: int, final: MaskStatistics = good) -> bool:
        records = [{"step": step, **(bad if step == at else good)._asdict()} for step in (40, 60, 100)]
        return would_be_refused(records, [final], limits)

    assert [refused(step) for step in (0, 40, 60, 100)] == [False, False, True, True]
    assert refused(0, bad)


def test_a_collapse_is_a_result_of_an_ablation(finished: Project, tmp_path: Path) -> None:
    def strict(params: dict) -> None:
        params["generator"]["cgn"]["collapse"]["min_class_distance"] = 1.0

    project = Project(tmp_path, write_params(tmp_path, strict), finished.real)
    (tmp_path / "raw").symlink_to(finished.root / "raw")
    assert json.loads(project.ablate().read_text())["collapsed"] == 1
    with pytest.raises(InputError, match="found 'gan', which has no masks"):
        project.ablate(generator="gan", change="unchanged")


def test_inferred_masks_are_held_against_their_own_images_digits() -> None:
    truth = torch.zeros(10, 1, 4, 4)
    truth[..., :2] = 1
    masks = truth.clone()
    masks[3, ..., 1] = 0  # half of the object is missed
    masks[4] = 0.4
    overlap = quality.paired_iou(masks, torch.arange(10), truth)
    assert overlap == [1, 1, 1, 0.5, 0, 1, 1, 1, 1, 1]
    with pytest.raises(InputError, match="expected some of each"):
        quality.paired_iou(masks[:9], torch.arange(9), truth[:9])


def test_a_split_that_selects_keeps_the_state_that_it_prefers(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path, write_params(tmp_path), finished.real)
    project.train_classifier("original_selected")
    record = json.loads((tmp_path / "records" / "original_selected" / "record.json").read_text())
    assert record["selected_by"] == "val_unbiased"
    assert 0 < record["selected_accuracy"] <= 1
    project.predict("original_selected")
    assert (tmp_path / "predictions" / "original_selected-0.parquet").is_file()
