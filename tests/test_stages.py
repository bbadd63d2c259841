"""Facts about the stages: a tiny run through every `main()`, killed and repeated."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from tiny_generators import PARAMS
from tiny_pipeline import CELLS, Project, hashes, same_weights, write_params

import cgn.classifiers.fit
import cgn.generators.base
import stages.training
from cgn.checkpoints import FILE_NAME, load_checkpoint
from cgn.config import changed, load_params
from cgn.errors import InputError
from cgn.generators import GENERATORS
from cgn.generators.colours import PlainColours
from cgn.schemas import FACTORS
from cgn.shards import MANIFEST, read_manifest, read_split, verify_shard_set, write_shard_set
from cgn.shards.manifest import SHARDS
from stages import train_classifier
from stages.cells import counterfactual_images
from stages.generators import kept_of, load_generator

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
    environments = {"env_90", "env_92_5", "env_95", "env_97_5", "env_99", "env_100"}
    assert {row["test_set"] for row in rows} == {"train", "val", "test", *environments}


def test_every_shard_set_of_the_pipeline_is_whole(finished: Project) -> None:
    assert verify_shard_set(finished.real) == 500 + 2 * 3500 + 500 + 1000
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


def with_what_a_user_has(shards: Path, target: Path) -> Path:
    """The tars of biased or generated training images alone, listed with factor columns in another order."""
    target.mkdir(parents=True)
    manifest = read_manifest(shards)
    manifest = manifest.filter(pc.is_in(manifest["split"], pa.array(["train", "generated"])))
    for name in set(manifest["shard"].to_pylist()):
        (target / name).symlink_to(shards / name)
    listed = pq.read_table(shards / SHARDS)
    pq.write_table(listed.filter(pc.is_in(listed["shard"], manifest["shard"].unique())), target / SHARDS)
    rng = torch.Generator().manual_seed(0)
    for name in FACTORS:
        order = torch.randperm(manifest.num_rows, generator=rng).numpy()
        column = manifest.schema.get_field_index(name)
        manifest = manifest.set_column(column, manifest.schema.field(name), manifest[name].take(pa.array(order)))
    pq.write_table(manifest, target / MANIFEST)
    assert manifest["shape"].to_pylist() != manifest["label"].to_pylist()
    return target


def test_training_sees_no_factor_column_and_no_split_but_the_biased_one(finished: Project, tmp_path: Path) -> None:
    real = with_what_a_user_has(finished.real, tmp_path / "shuffled")
    with_what_a_user_has(finished.root / "generated", tmp_path / "generated")
    project = Project(tmp_path, write_params(tmp_path), real)
    project.train_generator()
    assert same_weights(project.weights("cgn"), finished.weights("cgn"))
    for cell in CELLS:
        project.train_classifier(cell)
        assert same_weights(project.weights(cell), finished.weights(cell))


def test_counterfactuals_see_no_factor_column_and_no_split_but_the_biased_one(
    finished: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path, write_params(tmp_path), with_what_a_user_has(finished.real, tmp_path / "shuffled"))
    (tmp_path / "checkpoints").symlink_to(finished.root / "checkpoints")
    project.generate()
    assert hashes(tmp_path / "generated") == hashes(finished.root / "generated")


def test_shards_and_cells_have_the_colours_of_plain_layers(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten objects and ten backgrounds, of one colour each, whatever the generator draws."""
    layers = [torch.tensor([[[label, layer, 0]] for label in range(10)], dtype=torch.uint8) for layer in (0, 200)]
    monkeypatch.setattr("stages.generators.plain_colours", lambda *_, **__: PlainColours(*map(tuple, layers)))
    params = write_params(tmp_path)
    project = Project(tmp_path, params, finished.real)
    (tmp_path / "checkpoints").symlink_to(finished.root / "checkpoints")
    project.generate()
    found = read_split(tmp_path / "generated", "generated")
    assert found.factors is not None
    colours = [layer[labels, 0] for layer, labels in zip(layers, found.factors[1:], strict=True)]
    allowed = [(found.pixels == colour[:, :, None, None]).all(1) for colour in colours]
    assert (allowed[0] | allowed[1]).all()
    scale = load_params(params).scales["demo"]
    made, _ = counterfactual_images(
        *load_generator(tmp_path / "checkpoints" / "cgn" / FILE_NAME, dataset="double_colored", seed=0),
        real=finished.real,
        dataset="double_colored",
        budget=scale.generate,
        precision="bfloat16",
        seed=0,
    )
    assert torch.equal(made.pixels, found.pixels)
    assert torch.equal(made.labels, found.factors.shape)


@pytest.mark.parametrize(
    ("recipe", "change", "shapes", "colours"),
    [
        ("cgn", {}, True, True),
        ("cgn", {"shapes": "drawn"}, False, True),
        ("cgn", {"shapes": "drawn", "redress_after_share": 1.0, "inference_after_share": 1.0}, False, False),
        ("gan", {}, False, False),
    ],
)
def test_what_counterfactuals_keep_of_training_images(
    finished: Project, recipe: str, change: dict[str, Any], shapes: bool, colours: bool
) -> None:
    config = changed(PARAMS.generator[recipe], change)
    with pytest.raises(InputError, match="found images of double_colored, expected those of colored"):
        kept_of(
            finished.real,
            GENERATORS[config.recipe].network(config),
            config,
            dataset="colored",
            parts=[30],
            cf_ratio=1,
            precision="float32",
            seed=0,
        )
    found = kept_of(
        finished.real,
        GENERATORS[config.recipe].network(config),
        config,
        dataset="double_colored",
        parts=[30, 10],
        cf_ratio=4,
        precision="float32",
        seed=0,
    )
    assert [one and len(one.labels) for one in found.originals] == ([8, 3] if shapes else [None, None])
    assert (found.colours is not None) == colours


@pytest.mark.parametrize("factor", ["texture", "background"])
def test_a_classifier_of_another_factor_learns_what_the_generator_was_asked_for(
    finished: Project, tmp_path: Path, factor: str
) -> None:
    """It trains to the weights that the factor's classes, written in place of the label, lead to, at the whole rate everywhere."""

    def changed(params: dict) -> None:
        params["methods"]["cf_only"]["label"] = factor

    def at_the_whole_rate(params: dict) -> None:
        params["classifier"]["plain_area_lr_share"]["double_colored"] = 1.0

    project = Project(tmp_path / "a", write_params(tmp_path / "a", changed), finished.real)
    (project.root / "generated").symlink_to(finished.root / "generated")
    project.train_classifier("cgn-cf_only")
    told = read_split(finished.root / "generated", "generated")
    relabelled = told._replace(labels=getattr(told.factors, factor))
    other = Project(tmp_path / "b", write_params(tmp_path / "b", at_the_whole_rate), finished.real)
    write_shard_set(
        other.root / "generated",
        name="double_colored-cgn",
        seed=0,
        splits={"generated": relabelled},
        images_per_shard=60,
    )
    other.train_classifier("cgn-cf_only")
    (saved,) = (other.root / "checkpoints" / "cgn-cf_only").iterdir()
    assert load_checkpoint(saved, kind="classifier").config["budget"].keys() == {"num_images", "batch_size", "lr"}
    assert same_weights(project.weights("cgn-cf_only"), other.weights("cgn-cf_only"))
    shutil.copy(write_params(tmp_path / "c"), other.root / "params.yaml")
    other.train_classifier("cgn-cf_only")
    assert not same_weights(project.weights("cgn-cf_only"), other.weights("cgn-cf_only")), "a classifier of shapes"
    assert load_checkpoint(saved, kind="classifier").config["budget"]["plain_area_lr_share"] == 0.1
    project.predict("cgn-cf_only")
    predictions = pq.read_table(project.root / "predictions" / "cgn-cf_only-0.parquet")
    assert predictions["head"].unique().to_pylist() == [factor]


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
