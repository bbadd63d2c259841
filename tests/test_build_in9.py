"""ImageNet-9 from photographs and masks to the shard set, and from there to the released layout."""

import csv
import io
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from imagenet_road import params_with
from PIL import Image
from test_in9_masks import annotation, disc, encoded, mask_image, turned
from torch.nn import functional

from cgn.cli import main as cgn
from cgn.data.image_tables import PARTS, WORDNET
from cgn.data.imagenet9 import MIXED, VARIANTS, Box, Cutout, box_tiled, mixed, mixed_by_black
from cgn.data.imagenet_classes import IN9, coarse_labels, released_names
from cgn.encoded import Samples
from cgn.errors import InputError
from cgn.shards.mixes import FG_MASK, LEFT_OUT, mix_samples, read_mixes, verify_mixes
from stages import build_in9, fetch_images
from stages.build_in9 import find
from stages.in9 import Photograph

SHARED = Path(__file__).parents[2] / "shared"
MINI = SHARED / "data/in9_mini"
NAMES = {number: name for name, number in WORDNET.items()}
BOX = Box(20, 15, 44, 50)


def fetched(params: Path, out: Path) -> Path:
    fetch_images.main(["--params", str(params), "--scale", "tiny", "--out", str(out / "images")])
    return out / "images"


def build(params: Path, out: Path, images: Path | None = None, weights: Path = Path("none")) -> Path:
    """What build_in9 writes of photographs that fetch_images has listed, or lists first."""
    images = images or fetched(params, out)
    arguments = ["--images", str(images), "--weights", str(weights), "--out", str(out / "in9")]
    build_in9.main(["--params", str(params), "--scale", "tiny", *arguments])
    return out / "in9"


def with_one_process(params: Path) -> Path:
    text = params.read_text(encoding="utf-8")
    assert "generate_workers: 2" in text
    params.write_text(text.replace("generate_workers: 2", "generate_workers: 1"), encoding="utf-8")
    return params


def left_out(folder: Path) -> list[dict[str, str]]:
    with (folder / LEFT_OUT).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---- photographs of which everything is known


def a_class_of_each() -> list[str]:
    """One of ImageNet's classes for each of ImageNet-9's."""
    labels = coarse_labels(IN9).tolist()
    return [NAMES[labels.index(place)] for place in range(len(IN9))]


def colour(number: int) -> tuple[int, int, int]:
    return (40 + 7 * number % 160, 200 - 11 * number % 170, 30 + 23 * number % 190)


class Made(NamedTuple):
    """Folders of photographs and masks, PNGs of 64 px: a dark object with black corners in one box, before a colour of its own."""

    photographs: Path
    masks: Path

    def params(self, folder: Path, **changes: object) -> Path:
        """Both parts are of the same pixels and masks; val's files are a byte longer."""
        val, masks = folder / "held_out", folder / "masks_of_parts"
        if not val.exists():
            shutil.copytree(self.photographs, val)
            for path in val.rglob("*.png"):
                path.write_bytes(path.read_bytes() + b" ")
            masks.mkdir()
            for part in PARTS:
                (masks / part).symlink_to(self.masks)
        both = {"images__train": str(self.photographs), "images__val": str(val), "images__source": "folder"}
        of_set = {"in9__masks_from": str(masks), "sets__cue_conflict": None}
        return params_with(folder, **{**both, **of_set, **changes})

    @property
    def files(self) -> list[str]:
        return sorted(path.relative_to(self.photographs).as_posix() for path in self.photographs.rglob("*.png"))


def made(folder: Path, per_class: int = 2) -> Made:
    """Photographs of every class of ImageNet-9."""
    result = Made(folder / "photographs", folder / "masks")
    for place, name in enumerate(a_class_of_each()):
        for base in result:
            (base / name).mkdir(parents=True)
        for number in range(per_class):
            file = f"{name}/{name}_{number}.png"
            photograph(per_class * place + number).save(result.photographs / file)
            mask_image(BOX).save(result.masks / file)
    return result


def numbers() -> dict[str, int]:
    """What two photographs of every class are called, and which they are."""
    return {f"{name}_{number}": 2 * place + number for place, name in enumerate(a_class_of_each()) for number in (0, 1)}


def photograph(number: int) -> Image.Image:
    image = Image.new("RGB", (64, 64), colour(number))
    image.paste(tuple(255 - value for value in colour(number)), BOX)
    image.paste((0, 0, 0), (BOX.left, BOX.top, BOX.left + 8, BOX.top + 8))
    return image


def pixels(samples: Samples) -> torch.Tensor:
    images = [Image.open(io.BytesIO(one.read())) for one in samples.images]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Alike as a JPEG is to its original, where that is plain: next to edges it has colours of half the resolution."""
    area = 9
    padded = functional.pad(other.float()[None], [area // 2] * 4, mode="replicate")
    highest, lowest = (functional.max_pool2d(sign * padded, area, stride=1)[0] * sign for sign in (1, -1))
    plain = (highest == lowest).all(0).expand(3, -1, -1)
    assert plain.float().mean() > 0.4
    return bool((one.int() - other.int()).abs()[plain].float().mean() < 1.5)


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Of small parts, which edges surround: roughly."""
    return (one.int() - other.int()).abs().float().mean().item() < 12


@pytest.fixture(scope="module")
def mixes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixes")
    return build(made(folder).params(folder, in9__images_per_shard=5), folder)


@pytest.mark.parametrize("part", ["train", "val"])
def test_every_variant_shows_object_and_background_as_its_manifest_says(mixes: Path, part: str) -> None:
    images = {
        f"{name}_{number}": 2 * place + number for place, name in enumerate(a_class_of_each()) for number in (0, 1)
    }
    originals = {
        stem: torch.from_numpy(np.array(photograph(number))).permute(2, 0, 1) for stem, number in images.items()
    }
    mask = torch.from_numpy(np.array(mask_image(BOX)))[None]
    inside = (mask > 127).expand(3, -1, -1)
    for variant in VARIANTS:
        rows, found = read_mixes(mixes, part, variant), pixels(mix_samples(mixes, part, variant))
        assert rows["foreground_image"].to_pylist() == sorted(images)
        for picture, front, back in zip(
            found, rows["foreground_image"].to_pylist(), rows["background_image"].to_pylist(), strict=True
        ):
            original = originals[front]
            tiled = None if back is None else box_tiled(Cutout(originals[back], mask, BOX))
            expected = {
                "original": original,
                "only_bg_b": torch.where(inside, 0, original),
                "only_bg_t": torch.full_like(original, 0) + torch.tensor(colour(images[front]))[:, None, None],
                "no_fg": torch.where(inside, 0, original),
                "only_fg": torch.where(inside, original, 0),
            }.get(variant, None if tiled is None else torch.where(inside, original, tiled))
            assert expected is not None
            assert near(picture, expected), (variant, front, back)
            assert (back is None) == (variant == "only_fg")
            assert variant in MIXED or back in {None, front}


@pytest.mark.parametrize("part", ["train", "val"])
def test_backgrounds_are_of_the_classes_that_variants_are_called_after(mixes: Path, part: str) -> None:
    labels = coarse_labels(IN9)
    for variant in MIXED:
        rows = read_mixes(mixes, part, variant)
        front, back = (labels[rows[name].to_pylist()] for name in ("foreground_class", "background_class"))
        assert rows["label"].to_pylist() == front.tolist()
        assert all(one != other for one, other in zip(rows["foreground_image"], rows["background_image"], strict=True))
        if variant == "mixed_same":
            assert torch.equal(front, back)
        elif variant == "mixed_next":
            assert torch.equal((front + 1) % 9, back)
        else:
            assert len(set(back.tolist())) > 3


def test_parts_are_mixed_apart(mixes: Path) -> None:
    """The photographs are the same here, and the draws are not."""
    train, val = (read_mixes(mixes, part, "mixed_rand")["background_image"].to_pylist() for part in ("train", "val"))
    assert train != val


def test_masks_are_kept_beside_the_images(mixes: Path) -> None:
    samples = mix_samples(mixes, "val", FG_MASK)
    for one in samples.images:
        with Image.open(io.BytesIO(one.read())) as mask:
            assert mask.tobytes() == mask_image(BOX).tobytes()
    assert samples.classes[:, 2].unique().tolist() == [-1]


def test_the_set_is_whole_says_its_seed_and_leaves_nobody_out(mixes: Path) -> None:
    assert verify_mixes(mixes) == 2 * 18 * 9
    manifest = pq.read_table(mixes / "manifest.parquet")
    assert manifest["seed"].unique().to_pylist() == [0]
    order = list(dict.fromkeys(zip(manifest["part"].to_pylist(), manifest["variant"].to_pylist(), strict=True)))
    assert order == [(part, variant) for part in ("train", "val") for variant in (*VARIANTS, FG_MASK)]
    assert Counter(manifest["shard"].to_pylist())["in9-val-original-000003.tar"] == 3
    assert left_out(mixes) == []


def test_mixing_by_black_shows_background_through_black_objects(mixes: Path, tmp_path: Path) -> None:
    by_black = build(with_one_process(made(tmp_path).params(tmp_path, in9__mix_by="black")), tmp_path)
    corner = (slice(None), slice(BOX.top + 2, BOX.top + 6), slice(BOX.left + 2, BOX.left + 6))
    one, other = (pixels(mix_samples(folder, "val", "mixed_rand")) for folder in (mixes, by_black))
    backgrounds = read_mixes(by_black, "val", "mixed_rand")["background_image"].to_pylist()
    assert backgrounds == read_mixes(mixes, "val", "mixed_rand")["background_image"].to_pylist()
    images = numbers()
    for through, kept, back in zip(other, one, backgrounds, strict=True):
        expected = torch.tensor(colour(images[back]))[:, None, None].expand(3, 4, 4)
        assert alike(kept[corner], torch.zeros(3, 4, 4))
        assert alike(through[corner], expected)


def test_the_two_composers_agree_but_for_black(mixes: Path) -> None:
    picture = torch.from_numpy(np.array(photograph(0))).permute(2, 0, 1)
    cutout = Cutout(picture, torch.from_numpy(np.array(mask_image(BOX)))[None], BOX)
    background = torch.full_like(picture, 99)
    differ = (mixed(cutout, background) != mixed_by_black(cutout, background)).all(0)
    assert differ.sum() == 64
    assert differ[BOX.top : BOX.top + 8, BOX.left : BOX.left + 8].all()


# ---- the same bytes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_as_many_processes_as_one_likes_write_the_same_bytes(mixes: Path, tmp_path: Path) -> None:
    """`mixes` are made by two."""
    params = made(tmp_path).params(tmp_path, in9__images_per_shard=5)
    assert contents(build(with_one_process(params), tmp_path)) == contents(mixes)


def test_an_interrupted_build_leaves_the_set_that_was_there(
    mixes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_before = contents(shutil.copytree(mixes, tmp_path / "in9"))
    params = with_one_process(made(tmp_path).params(tmp_path, in9__images_per_shard=5, in9__jpeg_quality=30))
    render = build_in9.render

    def stop_in_the_third_shard(job: build_in9.RenderJob) -> object:
        if job.shard_index == 2:
            raise KeyboardInterrupt
        return render(job)

    with monkeypatch.context() as patch:
        patch.setattr(build_in9, "render", stop_in_the_third_shard)
        with pytest.raises(KeyboardInterrupt):
            build(params, tmp_path)
    assert contents(tmp_path / "in9") == of_before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".in9")]


# ---- what is left out, and what is refused


def test_photographs_that_cannot_be_used_are_listed_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of = made(tmp_path, per_class=3)
    files = of.files
    (of.photographs / files[0]).write_bytes(encoded(Image.new("CMYK", (64, 64))))
    (of.photographs / files[3]).write_bytes(encoded(Image.new("I;16", (64, 64)), "PNG"))
    (of.photographs / files[6]).write_bytes(turned())
    Image.new("L", (64, 64), 255).save(of.masks / files[9])
    with caplog.at_level(logging.INFO):
        folder = build(with_one_process(of.params(tmp_path)), tmp_path)
    assert [(one["part"], one["file"], one["why"][:24]) for one in left_out(folder)] == [
        (part, file, why)
        for part in ("train", "val")
        for file, why in (
            (files[0], "neither RGB nor greyscale"[:24]),
            (files[3], "neither RGB nor greyscale"[:24]),
            (files[6], "stored turned or mirrored"[:24]),
            (files[9], "the object leaves too little"[:24]),
        )
    ]
    assert (
        "train of 27 photographs, 23 in use; left out 2: neither RGB nor greyscale of 8 bits; left out 1" in caplog.text
    )
    stems = set(read_mixes(folder, "train", "mixed_rand")["background_image"].to_pylist())
    assert not stems & {Path(files[place]).stem for place in (0, 3, 6, 9)}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda of, file: (of.masks / file).unlink(), "found no mask, expected a PNG"),
        (
            lambda of, file: mask_image(BOX, 64, 63).save(of.masks / file),
            "found a mask of 64 x 63 px, expected 64 x 64",
        ),
        (lambda of, file: Image.new("L", (64, 64)).save(of.masks / file), "found no pixel above 127"),
        (lambda of, file: cut_short(of.photographs / file), "found a damaged image"),
        (lambda of, file: (of.photographs / file).write_bytes(b"no picture"), "found no JPEG, PNG or WEBP image; mend"),
    ],
)
def test_masks_and_photographs_that_are_wrong_are_named(
    tmp_path: Path, harm: Callable[[Made, str], None], message: str
) -> None:
    of = made(tmp_path)
    harm(of, of.files[4])
    with pytest.raises(InputError, match=f"{of.files[4]}: {message}"):
        build(with_one_process(of.params(tmp_path)), tmp_path)
    assert not (tmp_path / "in9").exists()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def test_a_photograph_that_changed_since_it_was_listed_is_named(tmp_path: Path) -> None:
    of = made(tmp_path)
    params = with_one_process(of.params(tmp_path))
    images = fetched(params, tmp_path)
    photograph(77).save(of.photographs / of.files[5])
    with pytest.raises(InputError, match=f"{of.files[5]} is not the file that was listed: its SHA-256 differs"):
        build(params, tmp_path, images)


def test_errors_of_other_processes_come_through(tmp_path: Path) -> None:
    of = made(tmp_path)
    (of.masks / of.files[17]).unlink()
    with pytest.raises(InputError, match=f"{of.files[17]}: found no mask"):
        build(of.params(tmp_path), tmp_path)


def test_a_class_without_two_images_is_named(tmp_path: Path) -> None:
    of = made(tmp_path)
    file = of.files[0]
    (of.photographs / file).write_bytes(turned())
    with pytest.raises(
        InputError, match=rf"ImageNet-9's train: found 1 of fish, expected two .*; left out: {file} \(stored turned"
    ):
        build(with_one_process(of.params(tmp_path)), tmp_path)


def test_one_mask_for_a_photograph_of_either_part_is_refused(tmp_path: Path) -> None:
    of = made(tmp_path)
    params = of.params(tmp_path, in9__masks_from=str(of.masks))
    first = Path(of.files[0]).with_suffix("")
    with pytest.raises(
        InputError, match=f"{of.masks}: found one folder for train and val, which both have a photograph {first}"
    ):
        build(with_one_process(params), tmp_path)


def test_masks_of_a_share_lie_among_those_of_the_training_folder(tmp_path: Path) -> None:
    of = made(tmp_path, per_class=4)
    (tmp_path / "of_parts").mkdir()
    (tmp_path / "of_parts" / "train").symlink_to(of.masks)
    share = {"images__val": None, "images__val_share": 0.5, "in9__masks_from": str(tmp_path / "of_parts")}
    folder = build(with_one_process(of.params(tmp_path, **share)), tmp_path)
    assert left_out(folder) == []


def test_classes_that_are_not_of_imagenet9_are_passed_over(mixes: Path, tmp_path: Path) -> None:
    of = made(tmp_path)
    (of.photographs / NAMES[999]).mkdir()
    photograph(3).save(of.photographs / NAMES[999] / "toilet_tissue.png")
    folder = build(with_one_process(of.params(tmp_path, in9__images_per_shard=5)), tmp_path)
    assert contents(folder) == contents(mixes)


def test_as_many_of_each_class_are_drawn_as_asked_for() -> None:
    photographs = [
        Photograph("train", Path("x"), f"{place}/{number}.png", f"{place}_{number}", place, place, "")
        for place in range(9)
        for number in range(10 + place)
    ]
    looked: list[Photograph] = []

    def look_at(some: Sequence[Photograph]) -> list[build_in9.Found | build_in9.LeftOut]:
        """Every fourth image has no object."""
        looked.extend(some)
        without, found = build_in9.LeftOut("no object", ""), build_in9.Found(BOX, b"")
        return [without if int(one.stem.split("_")[1]) % 4 == 0 else found for one in some]

    results = find(photographs, 5, look_at)
    kept = [one for one, found in results.items() if isinstance(found, build_in9.Found)]
    assert Counter(one.label for one in kept) == dict.fromkeys(range(9), 5)
    assert list(results) == [one for one in photographs if one in set(looked)]
    assert len(looked) == len(set(looked)) < 9 * 10
    assert {one.stem for one in kept if one.label == 8} != {f"8_{number}" for number in (1, 2, 3, 5, 6)}
    assert find(photographs, 5, look_at) == results
    everything = find(photographs, 50, look_at)
    assert list(everything) == photographs


def test_at_most_as_many_as_asked_for_are_built(tmp_path: Path) -> None:
    of = made(tmp_path, per_class=4)
    folder = build(with_one_process(of.params(tmp_path, in9__max_per_class=2)), tmp_path)
    assert Counter(read_mixes(folder, "val", "original")["label"].to_pylist()) == dict.fromkeys(range(9), 2)


# ---- the other sources of masks


def test_boxes_and_grabcut_give_masks_and_the_rules_skip(tmp_path: Path) -> None:
    of = made(tmp_path, per_class=3)
    box = Box(12, 8, 56, 52)
    for number, file in enumerate(of.files):
        disc(number)[0].save(of.photographs / file)
        (of.masks / file).unlink()
        (of.masks / file).with_suffix(".xml").write_text(annotation(64, 64, box))
    (of.masks / of.files[0]).with_suffix(".xml").unlink()
    (of.masks / of.files[4]).with_suffix(".xml").write_text(annotation(64, 64, box, box))
    (of.masks / of.files[8]).with_suffix(".xml").write_text(annotation(64, 48, box))
    params = of.params(tmp_path, in9__masks="grabcut")
    folder = build(params, tmp_path)
    assert [(one["file"], one["why"], one["found"]) for one in left_out(folder) if one["part"] == "val"] == [
        (of.files[0], "no annotation", ""),
        (of.files[4], "not exactly one box", "2"),
        (of.files[8], "its annotation is of an image of another size", "64 x 48 said, 64 x 64 found"),
    ]
    inside = disc()[1]
    for one in mix_samples(folder, "val", FG_MASK).images:
        with Image.open(io.BytesIO(one.read())) as mask:
            assert ((np.array(mask) > 127) == inside).mean() > 0.98
    blackened = pixels(mix_samples(folder, "val", "only_bg_b"))[:, :, box.top + 8 : box.bottom - 8, box.left + 8 : 48]
    assert blackened.float().mean() < 2
    again = contents(build(with_one_process(params), tmp_path, tmp_path / "images"))
    assert again == contents(folder)


class UnlikeTheCorner(torch.nn.Module):
    """In place of the saliency network: how far a pixel is from the first one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - images[:, :, :1, :1]).abs().mean(1, keepdim=True).clamp(0, 1)


def test_salience_gives_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_in9, "load_network", lambda *_: UnlikeTheCorner())
    monkeypatch.setattr(build_in9, "for_inference", lambda network: network.eval())
    of = made(tmp_path)
    (of.photographs / of.files[4]).write_bytes(encoded(Image.new("RGB", (64, 64), (90, 90, 90))))
    spare = of.photographs / of.files[4].replace("_0.png", "_2.png")
    photograph(40).save(spare)
    params = of.params(tmp_path, in9__masks="saliency", in9__masks_from=None)
    folder = build(with_one_process(params), tmp_path)
    assert [(one["file"], one["why"]) for one in left_out(folder)] == 2 * [(of.files[4], "nothing is salient")]
    for one in mix_samples(folder, "val", FG_MASK).images:
        with Image.open(io.BytesIO(one.read())) as mask:
            found = np.array(mask) > 127
        assert (found == (np.array(mask_image(BOX)) > 127)).mean() > 0.98


def test_nothing_shines_through_an_object(tmp_path: Path) -> None:
    of = made(tmp_path)
    for file in of.files:
        faint = np.array(Image.open(of.masks / file)) // 3 * 2  # 170 on the object
        faint[:8] = 90
        Image.fromarray(faint).save(of.masks / file)
    folder = build(with_one_process(of.params(tmp_path)), tmp_path)
    for one in mix_samples(folder, "val", FG_MASK).images:
        with Image.open(io.BytesIO(one.read())) as mask:
            assert (np.array(mask) == np.array(mask_image(BOX))).all()


def test_salience_needs_the_networks_weights(tmp_path: Path) -> None:
    of = made(tmp_path)
    params = with_one_process(of.params(tmp_path, in9__masks="saliency", in9__masks_from=None))
    with pytest.raises(InputError, match=r"none/saliency.safetensors"):
        build(params, tmp_path)


# ---- export


class AsTheirs(NamedTuple):
    """A folder of images as the challenge's scripts see it: classes by the order of their folders, files by their suffix."""

    classes: list[str]
    images: list[tuple[Path, int]]

    @classmethod
    def of(cls, root: Path) -> "AsTheirs":
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        images = []
        for label, name in enumerate(classes):
            some = sorted((root / name).rglob("*"))
            some = [path for path in some if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
            assert some, f"{name} has no images"
            images += [(path, label) for path in some]
        return cls(classes, images)


def theirs(path: Path) -> torch.Tensor:
    """An image as they read it, without converting it to anything: (channels, height, width) in [0, 1]."""
    with Image.open(path) as image:
        array = np.array(image)
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255


def test_the_challenge_can_read_what_is_exported(
    mixes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "released"
    cgn(["export", str(mixes), str(target)])
    assert capsys.readouterr().out == f"{target}: {18 * 9} files\n"
    assert sorted(path.name for path in target.iterdir()) == sorted([*VARIANTS, FG_MASK])
    for variant in VARIANTS:
        found = AsTheirs.of(target / variant / "val")
        assert found.classes == released_names()
        assert Counter(label for _, label in found.images) == dict.fromkeys(range(9), 2)
        rows, samples = read_mixes(mixes, "val", variant), mix_samples(mixes, "val", variant)
        held = {one.read() for one in samples.images}
        assert {path.read_bytes() for path, _ in found.images} == held  # no bytes but those of the shards
        labels = dict(zip((one.read() for one in samples.images), rows["label"].to_pylist(), strict=True))
        assert all(labels[path.read_bytes()] == label for path, label in found.images)
        assert {theirs(path).shape for path, _ in found.images} == {(3, 64, 64)}
    backgrounds = torch.stack([theirs(path) for path, _ in AsTheirs.of(target / "only_bg_t/val").images])
    class_names = sorted(path.name for path in (target / "fg_mask/val").iterdir())
    for name in class_names:
        for file in sorted(path.name for path in (target / "fg_mask/val" / name).iterdir()):
            mask = np.load(target / "fg_mask/val" / name / file)
            assert mask.shape == (64, 64)
            tiled = np.tile(mask[:, :, np.newaxis], [1, 1, 3]).astype("uint8") * 255
            mask_tensor = torch.from_numpy(np.array(Image.fromarray(tiled))).permute(2, 0, 1).float() / 255
            assert mask_tensor.unique().tolist() == [0.0, 1.0]
            image = theirs(target / "original/val" / name / file.replace("npy", "JPEG"))
            combined = backgrounds * (1 - mask_tensor) + mask_tensor * image
            assert combined.shape == backgrounds.shape
            assert torch.equal(combined[0][mask_tensor == 1], image[mask_tensor == 1])
    names = {path.name for path, _ in AsTheirs.of(target / "mixed_rand/val").images}
    rows = read_mixes(mixes, "val", "mixed_rand")
    pairs = zip(rows["foreground_image"].to_pylist(), rows["background_image"].to_pylist(), strict=True)
    assert names == {f"fg_{front}_bg_{back}.JPEG" for front, back in pairs}


def test_the_training_part_is_exported_by_choice(mixes: Path, tmp_path: Path) -> None:
    cgn(["export", str(mixes), str(tmp_path / "released"), "--part", "train"])
    assert AsTheirs.of(tmp_path / "released/mixed_next/train").classes == released_names()


def test_nothing_is_exported_over_something(mixes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit, match="2"):
        cgn(["export", str(mixes), str(tmp_path / "mine")])
    assert "mine: found something there, expected nothing" in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_damaged_set_is_not_exported(mixes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = shutil.copytree(mixes, tmp_path / "in9")
    cut_short(damaged / "in9-val-only_fg-000000.tar")
    with pytest.raises(SystemExit, match="2"):
        cgn(["export", str(damaged), str(tmp_path / "released")])
    assert "in9-val-only_fg-000000.tar is truncated or changed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in9"]


# ---- real images


def test_the_small_imagenet9_is_built_and_exported(tmp_path: Path) -> None:
    if not MINI.is_dir():
        pytest.skip("the small ImageNet-9 is not here")
    of = Made(tmp_path / "photographs", tmp_path / "masks")
    for folder in sorted((MINI / "original").iterdir()):
        for file in sorted(folder.glob("*.png"))[:6]:
            name = f"{file.stem.partition('_')[0]}/{file.name}"
            for base, source in ((of.photographs, file), (of.masks, MINI / "mask" / folder.name / file.name)):
                (base / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, base / name)
    folder = build(with_one_process(of.params(tmp_path, in9__size_px=224)), tmp_path)
    rows, samples = read_mixes(folder, "val", "mixed_rand"), mix_samples(folder, "val", "mixed_rand")
    originals = dict(
        zip(
            read_mixes(folder, "val", "original")["foreground_image"].to_pylist(),
            pixels(mix_samples(folder, "val", "original")),
            strict=True,
        )
    )
    assert rows.num_rows + len([one for one in left_out(folder) if one["part"] == "val"]) == 54
    assert rows.num_rows > 35
    masks = pixels_of_masks(mix_samples(folder, "val", FG_MASK))
    for picture, mask, stem in zip(pixels(samples), masks, rows["foreground_image"].to_pylist(), strict=True):
        sure = (mask == 255).expand(3, -1, -1)
        if sure.any():
            assert (picture[sure].int() - originals[stem][sure].int()).abs().float().mean() < 4
    cgn(["export", str(folder), str(tmp_path / "released")])
    assert len(AsTheirs.of(tmp_path / "released/mixed_next/val").images) == rows.num_rows


def pixels_of_masks(samples: Samples) -> torch.Tensor:
    images = [Image.open(io.BytesIO(one.read())) for one in samples.images]
    return torch.stack([torch.from_numpy(np.array(image))[None] for image in images])
