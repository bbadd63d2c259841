"""The stage that trains classifiers of natural images, with every rule, on pictures whose colours tell their classes."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import torch
from ruamel.yaml import YAML
from toy_evaluation import FIRST, PX, list_photographs, write_in9, write_params, write_photographs

from cgn.checkpoints import FILE_NAME, load_checkpoint
from cgn.config import load_params
from cgn.contracts import Factors
from cgn.data.imagenet9 import VARIANTS
from cgn.data.preprocessing import evaluation_pixels
from cgn.errors import InputError
from cgn.models.backbones import load_backbone
from cgn.models.ensemble import HeadedClassifier, load_classifier_checkpoint
from cgn.rng import stream
from cgn.schemas import write_table
from cgn.shards import Batch, read_manifest, read_split, write_shard_set
from cgn.shards.encoded import encoded_split
from cgn.shards.manifest import MANIFEST, SHARDS, read_shards
from cgn.shards.mixes import FG_MASK, mix_samples, read_mix_manifest
from stages import fetch_backbone, train_imagenet_classifier, training

RULES = ("published", "original", "mixed_rand", "last_layer", "swaps", "swap_ensemble", "cgn_ensemble")


class World(NamedTuple):
    """What other stages leave, and where this one writes."""

    root: Path
    params: Path

    def train(self, method: str, *, to: str = "", params: Path | None = None, seed: int = 0, **others: Path) -> Path:
        """Run the stage; returns the folder of the checkpoint."""
        out = self.root / "out" / (to or method)
        given = {"images": self.root / "listed", "in9": self.root / "in9", "backbone": self.root / "backbone"}
        if method == "cgn_ensemble":
            given["generated"] = self.root / "generated"
        places = [text for name, path in {**given, **others}.items() for text in (f"--{name}", str(path))]
        names = ["--params", str(params or self.params), "--scale", "tiny", "--method", method, "--seed", str(seed)]
        targets = ["--out", str(out), "--record", str(self.record(out))]
        train_imagenet_classifier.main([*names, *places, *targets])
        return out

    def record(self, out: Path) -> Path:
        return self.root / "records" / out.name

    def changed(self, name: str, change: Callable[[Any], None]) -> Path:
        """Another params.yaml."""
        yaml = YAML()
        content = yaml.load(self.params.read_text(encoding="utf-8"))
        change(content)
        path = self.root / f"{name}.yaml"
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
        return path


def make_world(root: Path) -> World:
    write_photographs(root / "train", [0, 0, 1, 1, 2, 2, 3, 3, 0, 1])
    write_photographs(root / "val", [0, 1, 2, 3])
    write_photographs(root / "stylized", [0, 1, 2, 3])
    params = write_params(
        root,
        images={"source": "folder", "train": str(root / "train"), "val": str(root / "val"), "val_share": None},
        sets__cue_conflict=None,
        sets__stylized_train=str(root / "stylized"),
        in9__masks="saliency",
        classifier__image_px=PX,
        classifier__num_epochs=2,
        classifier__batch_size=4,
    )
    world = World(root, params)
    world = world._replace(params=world.changed("tiny", lambda content: scratch_in(content, root)))
    list_photographs(root / "listed", load_params(world.params).imagenet_scales["tiny"].images)
    write_both_parts(root)
    write_counterfactuals(root / "generated", "imagenet-toy")
    fetch_backbone.main(["--params", str(world.params), "--scale", "tiny", "--out", str(root / "backbone")])
    return world


def scratch_in(content: Any, root: Path) -> None:
    content["runtime"]["scratch"] = str(root / "scratch")


def write_both_parts(root: Path) -> None:
    """Training and held-out mixes in one set, as build_in9 writes them."""
    folder = root / "in9"
    folder.mkdir()
    manifests, shards = [], []
    for part in ("train", "val"):
        one = write_in9(root / f"in9_{part}", variants=(*VARIANTS, FG_MASK), part=part)
        for path in one.glob("*.tar"):
            shutil.copy(path, folder)
        manifests.append(read_mix_manifest(one))
        shards.append(read_shards(one))
    write_table(folder / MANIFEST, pa.concat_tables(manifests))
    write_table(folder / SHARDS, pa.concat_tables(shards))


def write_counterfactuals(folder: Path, name: str) -> None:
    rng = stream(0, "counterfactuals")
    known = torch.tensor([*FIRST.values()])
    drawn = Factors(*(known[torch.randint(9, (24,), generator=rng)] for _ in range(3)))
    pixels = torch.randint(0, 256, (24, 3, PX, PX), generator=rng, dtype=torch.uint8)
    batch = Batch(pixels, drawn.shape, drawn, low_contrast=None)
    write_shard_set(folder, name=name, seed=0, splits={"generated": batch}, images_per_shard=10)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Every rule has been trained once."""
    made = make_world(tmp_path_factory.mktemp("classifiers"))
    for rule in RULES:
        made.train(rule)
    return made


def trained(world: World, method: str) -> HeadedClassifier:
    return load_classifier_checkpoint(world.root / "out" / method / FILE_NAME)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / FILE_NAME, kind="imagenet_classifier").tensors


@pytest.mark.parametrize("method", RULES)
def test_every_rule_writes_a_classifier_that_says_what_it_is(world: World, method: str) -> None:
    network = trained(world, method)
    is_ensemble = method.endswith("ensemble")
    assert network.heads == (("shape", "texture", "background") if is_ensemble else ("only",))
    assert network.classes == ("imagenet" if method in ("published", "original", "cgn_ensemble") else "in9")
    assert (network.image_px, network.resize_px) == (PX, round(256 * PX / 224))
    config = network.config
    assert config["method"]["name"] == method
    assert config["backbone"] == {
        "name": "squeezenet1_1",
        "source": "random",
        "sha256": "",
        "weights": "IMAGENET1K_V1",
    }
    assert {"cut", "mean", "std", "seed", "heads", "classes"} <= set(config)
    assert ("recipe" in config) == (method != "published")
    pixels = torch.zeros(2, 3, PX, PX, dtype=torch.uint8)
    with torch.no_grad():
        for logits in network(pixels).values():
            assert logits.shape == (2, 9 if network.classes == "in9" else 1000)
            assert logits.isfinite().all()


def test_the_published_classifier_is_the_backbone(world: World) -> None:
    network, backbone = trained(world, "published"), load_backbone(world.root / "backbone")
    pixels = torch.randint(0, 256, (2, 3, PX, PX), generator=stream(0), dtype=torch.uint8)
    with torch.no_grad():
        expected = backbone.network.eval()((pixels.float() - network.mean) / network.std)
        assert torch.equal(network(pixels)["only"], expected)
    record = json.loads((world.root / "records/published/record.json").read_text(encoding="utf-8"))
    assert record == {"images_seen": 0}


@pytest.mark.parametrize(
    ("method", "shares"),
    [
        ("original", {"images": 24}),
        ("mixed_rand", {"in9_mixed_rand": 40}),
        ("swaps", {"in9_original": 36, "swapped": 36}),
        ("swap_ensemble", {"in9_original": 40, "counterfactuals": 40}),
        ("cgn_ensemble", {"images": 24, "counterfactuals": 24}),
    ],
)
def test_a_record_says_how_many_images_of_which_source_were_seen(
    world: World, method: str, shares: dict[str, int]
) -> None:
    record = json.loads((world.root / "records" / method / "record.json").read_text(encoding="utf-8"))
    assert record["images_seen_by_source"] == shares
    assert record["images_seen"] == sum(shares.values())
    rows = list(csv.DictReader((world.root / "records" / method / "scalars.csv").read_text().splitlines()))
    assert int(rows[-1]["images_seen"]) == record["images_seen"]
    heads = {"shape", "texture", "background"} if method.endswith("ensemble") else set()
    assert rows[0].keys() == {"step", "epoch", "images_seen", "real", "lr"} | heads


def test_a_retrained_last_layer_knows_its_training_images_and_nothing_else_has_changed(world: World) -> None:
    network, backbone = trained(world, "last_layer"), load_backbone(world.root / "backbone").network.state_dict()
    assert isinstance(network.last_layer_of("only"), torch.nn.Linear)
    for name, tensor in network.trunk.state_dict().items():
        assert torch.equal(tensor, backbone[name.replace("_", ".", 1)])
    hits = []
    for variant in ("original", "mixed_rand"):
        samples = mix_samples(world.root / "in9", "train", variant)
        pixels = torch.stack([evaluation_pixels(image.read(), None, PX) for image in samples.images])
        labels = torch.tensor([list(FIRST.values()).index(label) for label in samples.classes[:, 0].tolist()])
        with torch.no_grad():
            hits.append((network(pixels)["only"].argmax(1) == labels).float().mean())
    assert min(hits) > 0.9


@pytest.mark.parametrize("method", ["cgn_ensemble", "last_layer"])
def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(world: World, method: str) -> None:
    again = world.train(method, to=f"{method}_again")
    first = world.root / "out" / method
    assert (again / FILE_NAME).read_bytes() == (first / FILE_NAME).read_bytes()
    for path in world.record(first).iterdir():
        assert (world.record(again) / path.name).read_bytes() == path.read_bytes()
    if method == "cgn_ensemble":
        other = tensors(world.train(method, to=f"{method}_seed", seed=1))
        assert not torch.equal(other["trunk.features_0.weight"], tensors(first)["trunk.features_0.weight"])


@pytest.mark.parametrize("method", ["original", "swap_ensemble", "last_layer"])
def test_nothing_that_is_held_out_is_read(world: World, tmp_path: Path, method: str) -> None:
    """Held-out photographs are gone, and held-out tars are none."""
    folder = tmp_path / "in9"
    shutil.copytree(world.root / "in9", folder)
    for path in folder.glob("in9-val-*.tar"):
        path.write_bytes(b"nothing")
    with pytest.raises(InputError):
        mix_samples(folder, "val", "original")
    val = world.root / "val"
    val.rename(world.root / "elsewhere")
    try:
        again = world.train(method, to=f"{method}_without", in9=folder)
    finally:
        (world.root / "elsewhere").rename(val)
    assert (again / FILE_NAME).read_bytes() == (world.root / "out" / method / FILE_NAME).read_bytes()


def test_a_run_that_is_killed_leaves_nothing_and_goes_on_to_the_same_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stops:
        def __enter__(self) -> Callable[[Any], None]:
            return self.observe

        def __exit__(self, *_: object) -> None:
            pass

        def observe(self, record: Any) -> None:
            if record["step"] > 10:
                raise KeyboardInterrupt

    longer = world.changed("longer", lambda content: epochs(content, 10))
    whole = world.train("cgn_ensemble", to="whole", params=longer)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_SAVE_EVERY_SECONDS", 0.0)
        patch.setattr(train_imagenet_classifier, "curves", lambda _: Stops())
        with pytest.raises(KeyboardInterrupt):
            world.train("cgn_ensemble", to="killed", params=longer)
    assert not (world.root / "out/killed").exists()
    assert not (world.root / "records/killed").exists()
    with caplog.at_level("INFO"):
        again = world.train("cgn_ensemble", to="killed", params=longer)
    assert "resumed at step 10 of 30" in caplog.text
    assert (again / FILE_NAME).read_bytes() == (whole / FILE_NAME).read_bytes()
    scalars = [(world.record(out) / "scalars.csv").read_bytes() for out in (whole, again)]
    assert scalars[0] == scalars[1]


def epochs(content: Any, num: int) -> None:
    content["imagenet_scales"]["tiny"]["classifier"]["num_epochs"] = num


def test_workers_change_no_byte(world: World) -> None:
    def with_workers(content: Any) -> None:
        content["imagenet_scales"]["tiny"]["classifier"]["num_workers"] = 2

    again = world.train("cgn_ensemble", to="workers", params=world.changed("workers", with_workers))
    assert (again / FILE_NAME).read_bytes() == (world.root / "out/cgn_ensemble" / FILE_NAME).read_bytes()


def test_a_budget_stands_in_for_the_recipes_and_a_deeper_cut_gives_heads_more_of_their_own(world: World) -> None:
    def deeper(content: Any) -> None:
        content["imagenet_methods"]["cgn_ensemble"] |= {"cut": 2, "cf_ratio": 0.5}
        content["imagenet_scales"]["tiny"]["classifier"] |= {"num_epochs": 1, "batch_size": 6}

    out = world.train("cgn_ensemble", to="deeper", params=world.changed("deeper", deeper))
    found = tensors(out)
    assert "ends.texture.features_12.squeeze.weight" in found
    assert not any(name.startswith("trunk.features_12") for name in found)
    record = json.loads((world.record(out) / "record.json").read_text(encoding="utf-8"))
    assert record["images_seen_by_source"] == {"images": 12, "counterfactuals": 6}


def test_stylized_images_are_a_folder_of_others(world: World) -> None:
    out = world.train("in_sin")
    record = json.loads((world.record(out) / "record.json").read_text(encoding="utf-8"))
    assert record["images_seen_by_source"] == {"images": 16, "stylized": 16}


# ---- counterfactuals where they lie


def test_counterfactuals_are_found_where_the_manifest_says(world: World) -> None:
    folder = world.root / "generated"
    samples, batch = encoded_split(folder, "generated"), read_split(folder, "generated")
    assert torch.equal(samples.classes, torch.stack([*batch.factors], dim=1))
    pixels = [evaluation_pixels(image.read(), None, PX) for image in samples.images]
    assert torch.equal(torch.stack(pixels), batch.pixels)
    assert list(samples.keys) == read_manifest(folder)["key"].to_pylist()
    with pytest.raises(InputError, match="has no split 'train'; its splits are: generated"):
        encoded_split(folder, "train")


def test_a_damaged_shard_of_counterfactuals_is_named_before_training(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "generated"
    shutil.copytree(world.root / "generated", folder)
    path = folder / "imagenet-toy-generated-000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"imagenet-toy-generated-000001.tar is not the file that shards.parquet lists"
    ):
        world.train("cgn_ensemble", to="x", generated=folder)
    assert not (world.root / "out/x").exists()


def test_what_an_ensemble_lacks_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found 'generated', so --generated must name"):
        train_imagenet_classifier.counterfactuals("generated", without_generated(world))
    write_counterfactuals(tmp_path / "digits", "colored-cgn")
    with pytest.raises(InputError, match=r"label classes from .* expected 0 to 9|found images of colored-cgn"):
        world.train("cgn_ensemble", to="x", generated=tmp_path / "digits")
    with pytest.raises(InputError, match=r"nowhere/manifest.parquet is missing; run `dvc repro`"):
        world.train("mixed_rand", to="x", in9=tmp_path / "nowhere")
    with pytest.raises(InputError, match="--method: found 'mine', allowed: "):
        world.train("mine")


def without_generated(world: World) -> Any:
    from stages.classifier_sources import Folders, SourceSetting  # noqa: PLC0415

    folders = Folders(world.root / "listed", world.root / "in9", None)
    return SourceSetting(folders, load_params(world.params).imagenet_scales["tiny"], trained(world, "original").form, 0)


def test_a_photograph_that_is_not_the_one_that_was_listed_is_named(world: World, tmp_path: Path) -> None:
    path = next(path for path in (world.root / "train").rglob("*.JPEG"))
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        with pytest.raises(InputError, match=rf"{path.name} is not the file that was listed: its SHA-256 differs"):
            world.train("original", to="x")
    finally:
        path.write_bytes(content)
    assert not (world.root / "out/x").exists()
