"""Shard sets of mixes: what is written is read, and nothing else is taken for it."""

import io
import tarfile
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from made_mixes import write_mixes

from cgn.cli import main as cgn
from cgn.errors import InputError
from cgn.shards import verify_shard_set
from cgn.shards.mixes import (
    FG_MASK,
    LEFT_OUT,
    MIXES_SCHEMA,
    Sample,
    is_mixes,
    mix_samples,
    read_mixes,
    verify_mixes,
)


def sample(number: int, background: int | None = None) -> Sample:
    picture = f"picture {number}".encode() * (number + 1)
    other = None if background is None else f"image{background}"
    return Sample(picture, number % 9, 150 + number, f"image{number}", background, other)


def write(target: Path, *, images_per_shard: int = 2) -> Path:
    samples = {
        ("train", "mixed_same"): [sample(number, 10 * number) for number in range(5)],
        ("train", FG_MASK): [sample(number) for number in range(3)],
        ("val", "mixed_same"): [sample(7, 3)],
    }
    write_mixes(target, samples, images_per_shard=images_per_shard, seed=0)
    return target


def test_mixes_are_read_where_they_lie_with_the_classes_of_both_images(tmp_path: Path) -> None:
    folder = write(tmp_path / "set")
    samples = mix_samples(folder, "train", "mixed_same")
    assert [one.read() for one in samples.images] == [sample(number).picture for number in range(5)]
    assert samples.keys[4] == "in9-train-mixed_same-00000004"
    assert samples.classes.tolist() == [[150 + number, 150 + number, 10 * number] for number in range(5)]
    assert mix_samples(folder, "train", FG_MASK).classes[:, 2].tolist() == [-1, -1, -1]
    rows = read_mixes(folder, "val", "mixed_same")
    assert rows.schema.equals(MIXES_SCHEMA)
    assert rows["background_image"].to_pylist() == ["image3"]
    assert verify_mixes(folder) == 9
    assert is_mixes(folder)


def test_webdataset_reads_the_tars(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webdataset  # noqa: PLC0415

        folder = write(tmp_path / "set")
        shards = [str(folder / f"in9-train-mixed_same-{number:06d}.tar") for number in range(3)]
        found = list(webdataset.WebDataset(shards, shardshuffle=False))
        (mask, *_) = webdataset.WebDataset(str(folder / "in9-train-fg_mask-000000.tar"), shardshuffle=False)
    assert [one["jpg"] for one in found] == [sample(number).picture for number in range(5)]
    assert [one["cls"] for one in found] == [b"0", b"1", b"2", b"3", b"4"]
    assert mask["png"] == sample(0).picture


def test_the_same_mixes_give_the_same_bytes_and_tars_are_plain(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()
    with tarfile.open(one / "in9-val-mixed_same-000000.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["in9-val-mixed_same-00000000.jpg", "in9-val-mixed_same-00000000.cls"]
    assert {member.mtime for member in members} == {0}


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    folder = write(tmp_path / "set")
    with pytest.raises(
        InputError, match="found no val original, expected one of: train mixed_same, train fg_mask, val"
    ):
        read_mixes(folder, "val", "original")


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def test_damaged_sets_are_named(tmp_path: Path) -> None:
    name = "in9-train-mixed_same-000001.tar"
    changed = write(tmp_path / "changed")
    change(changed / name, b"picture 2", b"picture 8")
    missing = write(tmp_path / "missing")
    (missing / name).unlink()
    short = write(tmp_path / "short")
    (short / name).write_bytes((short / name).read_bytes()[:-512])
    for folder, message in (
        (changed, rf"{name} is not the file that shards.parquet lists"),
        (missing, rf"{name} is missing"),
        (short, rf"{name} is truncated or changed"),
    ):
        with pytest.raises(InputError, match=message):
            mix_samples(folder, "train", "mixed_same")
        with pytest.raises(InputError):
            verify_mixes(folder)
        read_mixes(folder, "val", "mixed_same")  # the others are whole


def test_a_manifest_that_says_otherwise_is_refused(tmp_path: Path) -> None:
    for column, value, message in (
        ("label", 3, "does not hold in9-train-mixed_same-00000000 with class 3"),
        ("offset", 1024, "does not hold in9-train-mixed_same-00000000"),
        ("index", 7, "does not number train mixed_same one after another"),
        ("shard", "in9-train-mixed_same-000001.tar", "list other shards of train mixed_same"),
        ("background_class", 1000, "has background_class classes from 3 to 1000, expected 0 to 999"),
        ("label", 9, "has label classes from 0 to 9, expected 0 to 8"),
    ):
        folder = write(tmp_path / "set")
        path = folder / "manifest.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[0][column] = value
        pq.write_table(type(pq.read_table(path)).from_pylist(rows, schema=MIXES_SCHEMA), path)
        with pytest.raises(InputError, match=message):
            read_mixes(folder, "train", "mixed_same")


def test_files_beyond_the_list_are_noticed_but_for_what_says_which_images_were_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "set")
    (folder / LEFT_OUT).touch()
    assert verify_mixes(folder) == 9
    (folder / "more.tar").touch()
    with pytest.raises(InputError, match=r"found more.tar beyond what shards.parquet lists, and lacks nothing"):
        verify_mixes(folder)


def test_cgn_verify_takes_mixes_for_mixes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "set")
    cgn(["verify", str(folder)])
    assert capsys.readouterr().out == f"{folder}: 9 images, whole\n"
    with pytest.raises(InputError):
        verify_shard_set(folder)


def test_an_interrupted_write_leaves_the_set_that_was_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "set")
    before = (folder / "manifest.parquet").read_bytes()
    broken = Sample(b"x", 0, 0, "a", None, 3)  # type: ignore[arg-type]  # no name
    with pytest.raises(Exception, match=r"string|bytes"):
        write_mixes(folder, {("train", "original"): [broken]}, images_per_shard=2, seed=0)
    assert (folder / "manifest.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_is_no_set_is_no_set_of_mixes(tmp_path: Path) -> None:
    assert not is_mixes(tmp_path)
    (tmp_path / "manifest.parquet").write_bytes(io.BytesIO(b"PAR1").getvalue())
    assert not is_mixes(tmp_path)
