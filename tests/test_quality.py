"""Facts about what is measured of counterfactuals and of where classifiers look, on inputs whose answer is known."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from tiny_pipeline import Project, write_params
from torch import Tensor, nn

from cgn.errors import InputError
from cgn.evaluation import attribution, claims, latex, quality, tables
from cgn.evaluation.measured import SweepCell, read_numbers
from cgn.models.classifiers import Cnn
from cgn.rng import stream


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
        maps = explain(Reader(), images, classes)
        assert maps.shape == (3, 1, 32, 32)
        assert attribution.share_on(maps, block)[0] > 0.99
    assert torch.equal(attribution.lime(Reader(), images, classes), attribution.lime(Reader(), images, classes))


def test_grad_cam_is_the_maps_weighted_by_their_gradients() -> None:
    torch.manual_seed(0)
    network, images = Cnn().eval(), torch.randn(4, 3, 32, 32, generator=stream(0))
    classes = torch.arange(4)
    maps = network.maps(images).detach().requires_grad_()
    network.classify(maps).gather(1, classes[:, None]).sum().backward()
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    small = torch.relu((weights * maps).sum(1, keepdim=True)).detach()
    expected = nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    assert torch.allclose(attribution.grad_cam(network, images, classes), expected, atol=1e-6)


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


# ---- tables


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cgn-0.json"
    with pytest.raises(InputError, match=r"found no .*cgn-0\.json.*`dvc repro measure`"):
        read_numbers(path, what="quality", stage="measure")
    for content in ("{", '{"fid": -1}', '{"a": {"b": [0.1, "x"]}}', '{"fid": NaN}', "[]"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"cgn-0\.json does not hold quality"):
            read_numbers(path, what="quality", stage="measure")


def test_latex_prints_what_stands_in_the_table() -> None:
    text = latex.tabular("a_b", ("method", "50 %"), [("A & B", "1.0 ± 0.1"), ("C", tables.DASH)])
    assert text.splitlines() == [
        "% a_b",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & 50 \% \\",
        r"\midrule",
        r"A \& B & 1.0 $\pm$ 0.1 \\",
        r"C & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def cell(name: str, method: str, recipe: str | None, real_share: float) -> tables.Experiment:
    return tables.Experiment(name, method, name, real_share, method == "oracle", "shape", recipe)


FOUND = [
    cell("original", "original", None, 1.0),
    cell("cgn-cf_only", "cf_only", "fast", 0.0),
    cell("cgn-original_cf", "original_cf", "fast", 0.05),
    cell("gan-original_cf", "original_cf", "gan", 0.05),
    cell("oracle", "oracle", None, 1.0),
]


def point(
    num_images: int, accuracy: float, *, seen: int | None = None, generator: str = "cgn", ratio: int = 1
) -> SweepCell:
    spread = tables.spread_of([accuracy, accuracy + 0.01, accuracy - 0.01])
    return SweepCell(generator, num_images, ratio, 0, seen or num_images, None, {"test": spread})


SWEPT = [point(10_000, 0.5), point(10_000, 0.9, ratio=5), point(100_000, 0.8), point(1_000_000, 0.85, seen=500_000)]
GOOD = {
    "original": (0.1, 0.12, 0.11),
    "cgn-cf_only": (0.85, 0.86, 0.85),
    "cgn-original_cf": (0.85, 0.86, 0.85),
    "gan-original_cf": (0.12, 0.11, 0.1),
    "oracle": (0.9, 0.9, 0.9),
}


def rows_of(accuracies: Mapping[str, tuple[float, ...]], *, num_images: int = 10_000) -> list[dict[str, object]]:
    return [
        {"dataset": "wildlife", "experiment": name, "test_set": "test", "metric": metric, "value": value, "seed": seed}
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
        for metric, value in {"accuracy": accuracy, "num_images": num_images}.items()
    ]


def evidence(
    *,
    sweep: Sequence[SweepCell] = SWEPT,
    attempts: Sequence[int] = (1, 1, 1),
    looks: Mapping[str, tables.Estimate] = MappingProxyType({}),
    num_images: int = 10_000,
    more: Sequence[dict[str, object]] = (),
    **accuracies: tuple[float, ...],
) -> claims.Evidence:
    changed = {name.replace("_", "-", 1) if "_" in name else name: values for name, values in accuracies.items()}
    return claims.Evidence(
        [*rows_of({**GOOD, **changed}, num_images=num_images), *more],
        FOUND,
        sweeps={"wildlife": sweep},
        looks={"wildlife": looks},
        attempts={"wildlife": {"cgn": dict(enumerate(attempts))}},
    )


def verdicts(**changes: Any) -> list[str]:
    return [claim.verdicts[0][1] for claim in claims.claims(evidence(**changes), ["wildlife"], scale="demo")]


READS, NO_HARM, NO_MECHANISMS, NO_COLLAPSE, MORE, STABLE, LOOKS = range(7)  # the claims in their order


def test_what_is_seen_of_a_good_generator_bears_the_claims_out() -> None:
    assert verdicts() == ["holds"] * 5 + ["not measured"] * 2
    assert verdicts(oracle=()) == ["not measured", "holds", *["not measured"] * 2, "holds", *["not measured"] * 2]


def test_a_classifier_reads_the_digit_where_every_seed_is_nearer_to_the_oracle() -> None:
    assert (
        verdicts(cgn_original_cf=(0.13, 0.13, 0.13))[READS] == "does not hold"
    )  # more than biased, and nothing gained
    assert verdicts(cgn_original_cf=(0.85, 0.84, 0.45))[READS] == "too close to say"
    assert verdicts(original=(0.9, 0.9, 0.9))[READS] == "not measured"  # no shortcut to remove


def test_a_gan_that_removes_the_shortcut_refutes_that_none_does() -> None:
    assert verdicts(gan_original_cf=(0.85, 0.85, 0.85))[NO_MECHANISMS] == "does not hold"
    assert verdicts(gan_original_cf=(0.88, 0.87, 0.4))[NO_MECHANISMS] == "too close to say"


def test_a_difference_counts_beyond_two_standard_errors_of_images_and_seeds() -> None:
    def no_harm(alone: tuple[float, ...], both: tuple[float, ...], *, num_images: int = 100_000) -> str:
        return verdicts(cgn_cf_only=alone, cgn_original_cf=both, num_images=num_images)[NO_HARM]

    assert no_harm((0.85,) * 3, (0.84,) * 3) == "does not hold"
    assert no_harm((0.85,) * 3, (0.849,) * 3) == "holds"
    assert no_harm((0.85,) * 3, (0.84,) * 3, num_images=1_000) == "too close to say"
    assert no_harm((0.80, 0.85, 0.90), (0.84,) * 3) == "too close to say"
    assert no_harm((0.86,) * 3, (0.5, 0.86, 0.86)) == "too close to say"


def test_a_training_that_was_started_anew_has_collapsed() -> None:
    assert verdicts(attempts=(1, 2, 1))[NO_COLLAPSE] == "does not hold"
    assert verdicts(attempts=(1, 1))[NO_COLLAPSE] == "not measured"
    assert verdicts(attempts=(1, 1, 1, 5))[NO_COLLAPSE] == "holds"  # of a seed without a classifier
    assert verdicts(cgn_cf_only=(0.85, 0.85, 0.7))[NO_COLLAPSE] == "does not hold"


def test_more_counterfactuals_are_judged_by_those_that_were_seen() -> None:
    def more(*cells: SweepCell) -> tuple[str, str]:
        (_, verdict, numbers), *_ = claims.claims(evidence(sweep=cells), ["wildlife"], scale="demo")[MORE].verdicts
        return verdict, numbers

    assert more(*SWEPT[:3], point(1_000_000, 0.79, seen=500_000))[0] == "too close to say"
    assert more(*SWEPT[:3], point(1_000_000, 0.6, seen=500_000))[0] == "does not hold"
    verdict, numbers = more(*SWEPT[:3], point(1_000_000, 0.79, seen=90_000))
    assert (verdict, numbers.endswith("none saw more than 100,000")) == ("not measured", True)
    assert more(point(1_000_000, 0.85, seen=500_000)) == ("not measured", "500,000 seen: 85.0 ± 1.0")
    assert more() == ("not measured", "")
    assert more(*SWEPT, point(10_000, 0.99, generator="cut_paste"))[0] == "holds"
    assert more(*(cell._replace(generator="gan") for cell in SWEPT)) == ("not measured", "")


def environments(**moves: float) -> list[dict[str, object]]:
    """Classifiers of three factors in two environments: the accuracy of each changes by so much."""
    names = {"shape": "cgn-cf_only", "texture": "cgn-cf_only_texture", "background": "cgn-cf_only_background"}
    return [
        {
            "dataset": "wildlife",
            "experiment": names[factor],
            "test_set": name,
            "metric": metric,
            "value": value,
            "seed": 0,
        }
        for factor, move in moves.items()
        for name, accuracy in {"env_90": 0.9, "env_100": 0.9 + move, "test": 0.5}.items()
        for metric, value in {"accuracy": accuracy, "num_images": 10_000, "background_agreement": 0.1}.items()
    ]


def test_a_stable_signal_is_judged_where_every_factor_has_an_able_classifier() -> None:
    found = [
        cell("cgn-cf_only", "cf_only", "fast", 0.0),
        cell("cgn-cf_only_texture", "cf_only_texture", "fast", 0.0)._replace(factor="texture"),
        cell("cgn-cf_only_background", "cf_only_background", "fast", 0.0)._replace(factor="background"),
    ]

    def stable(**moves: float) -> str:
        given = claims.Evidence(environments(**moves), found, sweeps={}, looks={}, attempts={})
        return claims.claims(given, ["wildlife"], scale="demo")[STABLE].verdicts[0][1]

    assert stable(shape=0.01, texture=0.09, background=0.1) == "holds"
    assert stable(shape=0.09, texture=0.01, background=0.1) == "does not hold"
    assert stable(shape=0.088, texture=0.09, background=0.1) == "too close to say"
    assert stable(shape=0.01, texture=0.09) == stable(shape=-0.6, texture=0.09, background=0.1) == "not measured"


def test_claims_are_of_one_generator_that_has_both_mixes() -> None:
    found = [cell("cgn_authors-cf_only", "cf_only", "authors_code", 0.0), *FOUND]
    given = evidence()._replace(found=found)
    given = given._replace(rows=[*given.rows, *rows_of({"cgn_authors-cf_only": (0.99,) * 3})])
    assert claims.claims(given, ["wildlife"], scale="demo")[NO_HARM].verdicts[0][1] == "holds"


def test_a_verdict_says_of_how_few_seeds_it_is() -> None:
    few = evidence(original=(0.1,), attempts=())
    assert claims.claims(few, ["wildlife"], scale="full")[READS].verdicts == (
        ("Wildlife MNIST", "holds", "85.3 ± 0.6, between 10.0 and 90.0 ± 0.0 (seeds: 1)"),
    )
    assert claims.claims(few, ["wildlife"], scale="full")[READS].command == "dvc exp run --temp -S scale=full"


def test_looking_at_the_digit_needs_more_than_the_error_of_its_measure() -> None:
    looks = {"original": tables.Estimate(0.2, 0.01), "cgn-original_cf": tables.Estimate(0.24, 0.01)}
    assert verdicts(looks=looks)[LOOKS] == "holds"
    assert verdicts(looks={**looks, "original": tables.Estimate(0.22, 0.01)})[LOOKS] == "too close to say"
    assert verdicts(looks={**looks, "original": tables.Estimate(0.28, 0.01)})[LOOKS] == "does not hold"


def test_every_result_names_the_command_that_makes_it(finished: Project) -> None:
    with (finished.root / "report" / "results.csv").open(newline="") as file:
        commands = {row["command"] for row in csv.DictReader(file)}
    assert commands == {
        "dvc repro score@demo-double_colored-original-0",
        "dvc repro score_with@demo-double_colored-cgn-original_cf-0",
    }
    names = {path.name for path in (finished.root / "report").iterdir()}
    assert {"accuracy-double_colored.tex", "quality-double_colored.csv", "explained-double_colored.tex"} <= names
