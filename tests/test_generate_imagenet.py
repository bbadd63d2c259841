"""Counterfactuals of natural images at scale `tiny`."""

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from imagenet_road import Road, generate, measure, params_with

from cgn.checkpoints import load_checkpoint, save_checkpoint
from cgn.errors import InputError
from cgn.shards import name_of, read_manifest, read_split, verify_shard_set
from stages import generate_imagenet


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


def test_too_little_memory_ends_with_what_to_try(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(generate_imagenet, "imagenet_counterfactuals", fail)
    with pytest.raises(
        InputError, match=r"imagenet_scales.tiny.generate.micro_batch: found 5, .* expected less; try 2"
    ):
        generate(params_with(tmp_path), road, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_are_drawn_from_those_that_are_chosen(road: Road, tmp_path: Path) -> None:
    chosen = {"generate__shape_classes": [340], "generate__texture_classes": [1, 2], "generate__num_images": 10}
    generate(params_with(tmp_path, **chosen), road, tmp_path / "shards")
    factors = read_split(tmp_path / "shards", "generated").factors
    assert set(factors.shape.tolist()) == {340}
    assert set(factors.texture.tolist()) == {1, 2}
    assert len(set(factors.background.tolist())) > 5


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
