"""The stages that train a classifier and let it predict."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML
from tiny_classifiers import bars, trained, training
from torch import nn

from cgn.checkpoints import FILE_NAME, save_checkpoint
from cgn.classifiers.prediction import predict
from cgn.contracts import Factors
from cgn.models.classifiers import Cnn
from cgn.schemas import PREDICTIONS_SCHEMA
from cgn.shards import Batch, read_manifest, read_split, write_shard_set
from stages import predict as predict_stage
from stages import train_classifier

ROOT = Path(__file__).parents[1]


class Cell:
    """A tiny real set, params of seconds, and the two stages' command lines over them."""

    def __init__(self, root: Path) -> None:
        self.root, self.real, self.environments = root, root / "real", root / "environments"
        environment = {"env_90": labelled(15, 90)}
        write_shard_set(self.environments, name="double_colored", seed=0, splits=environment, images_per_shard=20)
        splits = {name: labelled(30, seed) for seed, name in enumerate(("train", "val", "unbiased", "test"))}
        write_shard_set(self.real, name="double_colored", seed=0, splits=splits, images_per_shard=20)
        yaml = YAML(typ="safe", pure=True)
        params = yaml.load(ROOT / "params.yaml")
        params["compute"] = {"threads": 1, "precision": "bfloat16"}
        params["runtime"]["scratch"] = str(root / "scratch")
        params["scales"]["demo"]["classifier"] |= {"num_images": 64, "batch_size": 16}
        with (root / "params.yaml").open("w") as file:
            yaml.dump(params, file)

    def train(self, method: str) -> Path:
        out = self.root / "checkpoints" / method
        options = [f"--params={self.root / 'params.yaml'}", "--scale=demo", f"--method={method}", "--seed=5"]
        options += [f"--real={self.real}", f"--environments={self.environments}"]
        train_classifier.main([*options, f"--out={out}", f"--record={self.root / 'record'}"])
        return out

    def predict(self, checkpoint: Path) -> pa.Table:
        out = self.root / "predictions.parquet"
        options = [f"--params={self.root / 'params.yaml'}", "--seed=5", f"--real={self.real}"]
        options += [f"--environments={self.environments}"]
        predict_stage.main([*options, f"--checkpoint={checkpoint}", f"--out={out}"])
        return pq.read_table(out)


def labelled(num_images: int, seed: int) -> Batch:
    """Bars whose texture is another class than their shape, without a background factor."""
    pixels, labels = bars(num_images, seed)
    factors = Factors(labels, (labels + 3) % 10, torch.full_like(labels, -1))
    return Batch(pixels, labels, factors, torch.arange(num_images) % 7 == 0)


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path)


def test_the_prediction_table_repeats_the_manifest_and_leaves_out_the_oracles_images(cell: Cell) -> None:
    checkpoint = cell.train("original")
    table = cell.predict(checkpoint)
    assert table.schema.equals(PREDICTIONS_SCHEMA)
    rows = [row for row in read_manifest(cell.real).to_pylist() if row["split"] != "unbiased"]
    rows += read_manifest(cell.environments).to_pylist()
    for name in ("key", "shape", "texture", "background", "low_contrast"):
        assert table[name].to_pylist() == [row[name] for row in rows]
    assert table["test_set"].to_pylist() == [row["split"] for row in rows]
    assert set(table["background"].to_pylist()) == {None}
    assert set(table["seed"].to_pylist()) == {5}
    assert all(0.1 <= value <= 1 for value in table["confidence"].to_pylist())


def test_the_prediction_table_holds_what_the_network_says_of_each_image(cell: Cell) -> None:
    run = training(num_images=640)
    checkpoint = cell.root / "other"
    save_checkpoint(
        checkpoint / FILE_NAME,
        trained(run),
        kind="classifier",
        config={"dataset": "double_colored", "seed": 5, "label": "shape"},
        trained_on="0" * 64,
    )
    table = cell.predict(checkpoint)
    expected, _ = predict(run.network, read_split(cell.real, "test").pixels, precision="bfloat16")
    found = [row["predicted"] for row in table.to_pylist() if row["test_set"] == "test"]
    assert found == expected.tolist()


def test_of_training_images_the_first_are_predicted_and_of_test_images_all(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_stage, "_MAX_TRAINING_IMAGES", 25)
    keys = cell.predict(cell.train("original"))["key"].to_pylist()
    assert [key for key in keys if "train" in key] == [f"double_colored-train-{row:08d}" for row in range(25)]
    assert sum("test" in key for key in keys) == len(read_split(cell.real, "test").labels) > 25


def test_the_predict_stage_refuses_a_network_of_another_architecture(cell: Cell) -> None:
    checkpoint = cell.root / "other"
    weights = nn.Sequential(nn.Linear(3, 10)).state_dict()
    save_checkpoint(
        checkpoint / FILE_NAME,
        weights,
        kind="classifier",
        config={"dataset": "double_colored", "seed": 5, "label": "shape"},
        trained_on="0" * 64,
    )
    with pytest.raises(ValueError, match=r"checkpoint of another architecture: .*delete it and run `dvc repro`"):
        cell.predict(checkpoint)


def test_the_predict_stage_refuses_a_checkpoint_of_another_kind(cell: Cell) -> None:
    checkpoint = cell.root / "other"
    save_checkpoint(checkpoint / FILE_NAME, Cnn().state_dict(), kind="generator", config={}, trained_on="0" * 64)
    with pytest.raises(ValueError, match="found a generator checkpoint of format 2, expected classifier"):
        cell.predict(checkpoint)


def test_a_mix_with_generated_images_needs_their_folder(cell: Cell) -> None:
    with pytest.raises(ValueError, match=r"original_cf\.mix names 'generated', so --generated must name a shard set"):
        cell.train("original_cf")


def test_the_oracle_learns_from_the_unbiased_split_alone(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    def recorded(folder: Path, split: str) -> Batch:
        splits.append(split)
        return read_split(folder, split)

    monkeypatch.setattr(train_classifier, "read_split", recorded)
    cell.train("oracle")
    assert splits == ["unbiased"]
