"""Facts about shard sets: what is written is read again, and nothing damaged is."""

import gc
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from torch import Tensor

from cgn.contracts import Factors
from cgn.errors import InputError
from cgn.schemas import MANIFEST_SCHEMA
from cgn.shards import (
    MANIFEST,
    Batch,
    read_manifest,
    read_split,
    splits_of,
    verify_shard_set,
    write_shard,
    write_shard_set,
    write_tables,
    writer,
)

ROOT = Path(__file__).parents[1]


def make_batch(count: int, *, seed: int = 0, has_background: bool = True) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    labels, texture, background = torch.randint(0, 10, (3, count), generator=rng)
    return Batch(
        torch.randint(0, 256, (count, 3, 32, 32), generator=rng, dtype=torch.uint8),
        labels,
        Factors(labels, texture, background if has_background else torch.full_like(labels, -1)),
        torch.rand(count, generator=rng) < 0.5,
    )


def write(target: Path, *, count: int = 7, seed: int = 0, has_background: bool = True) -> None:
    splits = {
        "train": make_batch(count, seed=seed, has_background=has_background),
        "test": make_batch(4, seed=seed + 1, has_background=has_background),
    }
    write_shard_set(target, name="double_colored", seed=seed, splits=splits, images_per_shard=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "set")
    return tmp_path / "set"


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def assert_same(found: Batch, expected: Batch) -> None:
    assert (found.low_contrast is None) == (expected.low_contrast is None)
    tensors = [
        [*batch[:2], *batch.factors, *([] if batch.low_contrast is None else [batch.low_contrast])]
        for batch in (found, expected)
    ]
    for left, right in zip(*tensors, strict=True):
        assert torch.equal(left, right)


def rewrite(folder: Path, change: Callable[[list[dict]], list[dict]], file_name: str = MANIFEST) -> None:
    table = pq.read_table(folder / file_name)
    rows = change(table.to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / file_name)


# ---- what is written is read again


@pytest.mark.parametrize("has_background", [True, False])
def test_a_set_reads_back_as_it_was_written(tmp_path: Path, has_background: bool) -> None:
    write(tmp_path / "set", has_background=has_background)
    assert splits_of(tmp_path / "set") == ["train", "test"]
    assert_same(read_split(tmp_path / "set", "train"), make_batch(7, has_background=has_background))
    assert_same(read_split(tmp_path / "set", "test"), make_batch(4, seed=1, has_background=has_background))
    assert verify_shard_set(tmp_path / "set") == 11


@pytest.mark.parametrize(("at_most", "shards"), [(1, 1), (3, 1), (4, 2), (7, 3), (100, 3)])
def test_the_first_images_of_a_split_need_no_shard_behind_them(folder: Path, at_most: int, shards: int) -> None:
    tars = sorted(folder.glob("*train*.tar"))
    assert len(tars) == 3
    for tar in tars[shards:]:
        tar.unlink()
    whole = make_batch(7)
    first = Batch(
        whole[0][:at_most], whole[1][:at_most], Factors(*(x[:at_most] for x in whole.factors)), whole[3][:at_most]
    )
    assert_same(read_split(folder, "train", at_most=at_most), first)


def test_no_images_at_all_are_no_part_of_a_split(folder: Path) -> None:
    with pytest.raises(ValueError, match="found 0, expected at least 1"):
        read_split(folder, "train", at_most=0)


def test_a_background_of_minus_one_is_null_in_the_manifest(tmp_path: Path) -> None:
    write(tmp_path / "set", has_background=False)
    assert read_manifest(tmp_path / "set")["background"].null_count == 11


def test_the_manifest_follows_the_contract(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.schema.equals(MANIFEST_SCHEMA)
    assert manifest["key"][4].as_py() == "double_colored-train-00000004"
    assert manifest["index"].to_pylist() == [*range(7), *range(4)]


def test_a_set_in_a_folder_named_like_a_partition_is_read(tmp_path: Path) -> None:
    write(tmp_path / "seed=0" / "set")
    assert verify_shard_set(tmp_path / "seed=0" / "set") == 11


def test_equal_arguments_give_equal_bytes_anywhere(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "other")
    assert hashes(tmp_path / "elsewhere" / "other") == hashes(folder)
    write(tmp_path / "seed", seed=5)
    assert hashes(tmp_path / "seed") != hashes(folder)


def test_shards_do_not_depend_on_the_order_in_which_they_are_written(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "backwards"
    other.mkdir()
    entries = {}
    for split, batch in (("test", make_batch(4, seed=1)), ("train", make_batch(7))):
        for index in reversed(range(-(-len(batch.labels) // 3))):
            rows = slice(3 * index, 3 * index + 3)
            part = Batch(batch[0][rows], batch[1][rows], Factors(*(x[rows] for x in batch.factors)), batch[3][rows])
            entries[split, index] = write_shard(
                other, name="double_colored", split=split, shard_index=index, first_index=3 * index, batch=part, seed=0
            )
    order = [("train", 0), ("train", 1), ("train", 2), ("test", 0), ("test", 1)]
    write_tables(other, [entries[key] for key in order])
    assert hashes(other) == hashes(folder)


def test_a_shard_listed_twice_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    entry, other = (
        write_shard(
            tmp_path, name="tiny", split="train", shard_index=number, first_index=0, batch=make_batch(3), seed=0
        )
        for number in (0, 1)
    )
    with pytest.raises(ValueError, match=r"found tiny-train-000000\.tar twice, expected every shard"):
        write_tables(tmp_path, [entry, entry])
    with pytest.raises(ValueError, match=r"found tiny-train-00000000 twice, expected every shard"):
        write_tables(tmp_path, [entry, other])
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_tars_in_order(folder: Path) -> None:
    tars = [str(path) for path in sorted(folder.glob("*-train-*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("torchrgb").to_tuple("png", "cls"))
    expected = make_batch(7)
    assert [label for _, label in samples] == expected.labels.tolist()
    pixels: Tensor = torch.stack([image for image, _ in samples]).mul(255).round().to(torch.uint8)
    assert torch.equal(pixels, expected.pixels)
    del samples
    gc.collect()  # webdataset leaves its files open


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_loop_of_the_howto_mixes_generated_and_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = make_batch(190, seed=1), make_batch(40, seed=2)
    write_shard_set(
        tmp_path / "wildlife", name="wildlife-cgn", seed=1, splits={"generated": generated}, images_per_shard=100
    )
    write_shard_set(tmp_path / "real", name="wildlife", seed=0, splits={"train": real}, images_per_shard=100)
    told = (ROOT / "docs/howto.md").read_text(encoding="utf-8")
    (loop,) = (block for block in re.findall(r"```python\n(.*?)```", told, re.DOTALL) if "RandomMix" in block)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"seen": []}
    exec(loop.replace("    pass  #", "    seen.append((keys, pixels, labels))  #"), found)
    keys = [key for batch, _, _ in found["seen"] for key in batch]
    assert 150 < len(set(keys)) == len(keys)
    assert 1 <= sum(key.startswith("wildlife-train") for key in keys) < 30
    pixels = torch.cat([batch for _, batch, _ in found["seen"]]).mul(255).round().to(torch.uint8)
    labels = torch.cat([batch for _, _, batch in found["seen"]])
    for key, image, label in zip(keys, pixels, labels, strict=True):
        source, index = (generated if "generated" in key else real), int(key[-8:])
        assert torch.equal(image, source.pixels[index])
        assert label == source.labels[index]
        assert "generated" not in key or found["texture"][key] == source.factors.texture[index]
    found.clear()
    gc.collect()  # webdataset leaves its files open


def test_tarfile_reads_plain_members_and_offsets_point_at_pngs(folder: Path) -> None:
    for name in sorted({row["shard"] for row in read_manifest(folder).to_pylist()}):
        rows = [row for row in read_manifest(folder).to_pylist() if row["shard"] == name]
        content = (folder / name).read_bytes()
        with tarfile.open(folder / name) as tar:
            members = tar.getmembers()
        expected = [f"{row['key']}.{suffix}" for row in rows for suffix in ("png", "cls")]
        assert [member.name for member in members] == expected
        assert {(member.mtime, member.mode, member.isfile(), member.uid) for member in members} == {(0, 0o644, True, 0)}
        for row in rows:
            png = content[row["offset"] : row["offset"] + row["size"]]
            assert png.startswith(b"\x89PNG\r\n\x1a\n")
            assert png.endswith(b"IEND\xaeB`\x82")


# ---- nothing damaged is read


def assert_refused(folder: Path, message: str, split: str = "train") -> None:
    with pytest.raises(ValueError, match=message):
        read_split(folder, split)
    with pytest.raises(ValueError, match=message):
        verify_shard_set(folder)


def test_a_truncated_shard_is_refused_by_name(folder: Path) -> None:
    path = folder / "double_colored-train-000001.tar"
    content = path.read_bytes()
    boundaries = [0, 1, 100, 511, 512, 513, 520, len(content) - 1024, len(content) - 512, len(content) - 1]
    offsets = boundaries + random.Random(0).sample(range(len(content)), 40 - len(boundaries))
    for offset in offsets:
        path.write_bytes(content[:offset])
        assert_refused(folder, path.name)
    path.write_bytes(content + b"\0")
    assert_refused(folder, path.name)


def test_a_flipped_bit_in_a_shard_is_refused_by_name(folder: Path) -> None:
    path = folder / "double_colored-train-000002.tar"
    content = path.read_bytes()
    for offset in random.Random(1).sample(range(len(content)), 40):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        assert_refused(folder, path.name)


@pytest.mark.parametrize("file_name", [MANIFEST, "shards.parquet"])
def test_a_torn_or_foreign_or_missing_table_is_refused_by_name(folder: Path, file_name: str) -> None:
    path = folder / file_name
    content = path.read_bytes()
    for part in (b"", content[:4], content[: len(content) // 2], content[:-1], content[5:], b"not parquet" * 99):
        path.write_bytes(part)
        assert_refused(folder, file_name)
    pq.write_table(pa.table({"key": ["a"]}), path)
    assert_refused(folder, file_name)
    path.unlink()
    assert_refused(folder, file_name)


def test_a_missing_tar_is_refused_by_name(folder: Path) -> None:
    (folder / "double_colored-train-000000.tar").unlink()
    assert_refused(folder, "double_colored-train-000000.tar")


def changed(row: int, **columns: Callable) -> Callable[[list[dict]], list[dict]]:
    def change(rows: list[dict]) -> list[dict]:
        rows[row].update({name: function(rows[row][name]) for name, function in columns.items()})
        return rows

    return change


def swapped_labels(rows: list[dict]) -> list[dict]:
    """Two images of a shard change places in the manifest, as if relabelled."""
    for name in ("offset", "size"):
        rows[0][name], rows[1][name] = rows[1][name], rows[0][name]
    return rows


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: rows[:2] + rows[3:],
        lambda rows: rows[:6] + rows[7:],
        lambda rows: [*rows[:7], rows[6], *rows[7:]],
        lambda rows: [*rows[3:7], *rows[:3], *rows[7:]],
        lambda rows: [rows[0], rows[3], *rows[1:3], *rows[4:]],
        changed(1, key=lambda key: key + "x"),
        changed(1, key=lambda key: "ä" * 200),
        changed(1, offset=lambda offset: offset + 1),
        changed(1, offset=lambda offset: offset + 512),
        changed(1, offset=lambda offset: -offset),
        changed(1, offset=lambda offset: 2**62),
        changed(1, size=lambda size: size - 1),
        changed(1, size=lambda size: -1),
        changed(1, label=lambda label: (label + 1) % 10),
        changed(1, label=lambda label: 12),
        changed(1, shape=lambda label: -1),
        changed(1, texture=lambda label: 12),
        changed(1, background=lambda label: 12),
        changed(1, shard=lambda shard: "../" + shard),
        changed(1, shard=lambda shard: "double_colored-test-000000.tar"),
        swapped_labels,
    ],
)
def test_a_manifest_that_disagrees_with_its_tars_is_refused(folder: Path, change: Callable) -> None:
    rewrite(folder, change)
    assert_refused(folder, str(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [rows[0], *rows],
        changed(0, count=lambda count: count + 1),
        changed(0, sha256=lambda digest: "0" * 64),
        changed(0, split=lambda split: "test"),
    ],
)
def test_a_list_of_shards_that_disagrees_with_the_manifest_is_refused(folder: Path, change: Callable) -> None:
    rewrite(folder, change, "shards.parquet")
    assert_refused(folder, str(folder))


def test_a_shard_set_with_an_additional_tar_is_refused(folder: Path) -> None:
    (folder / "extra.tar").write_bytes(bytes(1024))
    with pytest.raises(ValueError, match=r"extra\.tar"):
        verify_shard_set(folder)


def test_a_listed_file_that_is_no_tar_is_refused(folder: Path) -> None:
    content = b"no tar at all" * 100
    (folder / "double_colored-train-000000.tar").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rewrite(folder, changed(0, sha256=lambda _: digest, bytes=lambda _: len(content)), "shards.parquet")
    assert_refused(folder, "double_colored-train-000000.tar")


def test_an_unknown_split_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(ValueError, match="no split 'val'; its splits are: train, test"):
        read_split(folder, "val")


HOSTILE = ["", ".", "..", "../x", "/etc/x", "a/b", "a.b", "a" * 300, "a" * 61, "ä", "A", "a b", "a\n", "a\0", "$(x)"]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("what", ["name", "split"])
def test_hostile_names_are_refused_and_nothing_is_written(tmp_path: Path, what: str, hostile: str) -> None:
    name, split = (hostile, "train") if what == "name" else ("colored", hostile)
    with pytest.raises(ValueError, match=f"shard {what}"):
        write_shard_set(tmp_path / "a" / "set", name=name, seed=0, splits={split: make_batch(2)}, images_per_shard=2)
    assert [path for path in tmp_path.rglob("*") if path.name != "a"] == []


def test_the_longest_names_still_fit_a_tar_header(tmp_path: Path) -> None:
    write_shard_set(tmp_path / "set", name="n" * 60, seed=0, splits={"s" * 20: make_batch(2)}, images_per_shard=2)
    assert verify_shard_set(tmp_path / "set") == 2


# ---- interrupted writes


def test_a_set_replaces_an_older_one_wholly(folder: Path) -> None:
    (folder / "leftover").write_text("old")
    write(folder, count=2, seed=9)
    assert sorted(path.name for path in folder.glob("*train*")) == ["double_colored-train-000000.tar"]
    assert not (folder / "leftover").exists()
    assert verify_shard_set(folder) == 6
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


def fail_at_second_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = writer.write_shard

    def failing(*args, shard_index: int, **kwargs):
        if shard_index == 1:
            raise OSError("no space left on device")
        return plain(*args, shard_index=shard_index, **kwargs)

    monkeypatch.setattr(writer, "write_shard", failing)


def test_an_error_between_shards_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_second_shard(monkeypatch)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_an_error_between_shards_leaves_an_older_set_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashes(folder)
    fail_at_second_shard(monkeypatch)
    with pytest.raises(OSError, match="no space"):
        write(folder, seed=3)
    assert hashes(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_process_killed_before_the_manifest_leaves_no_set_and_a_rerun_gives_the_same_bytes(
    tmp_path: Path, folder: Path
) -> None:
    target = tmp_path / "killed"
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "import test_shards as t\n"
        "t.writer.write_tables = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.write(Path(sys.argv[1]))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script, str(target)], cwd=ROOT, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert [path.name for path in tmp_path.glob(".*/*.tar")] != []
    assert list(tmp_path.glob(f".*/{MANIFEST}")) == []
    write(target)
    assert hashes(target) == hashes(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "set"]


def test_a_manifest_of_another_schema_says_which_column_differs(tmp_path: Path) -> None:
    manifest = MANIFEST_SCHEMA.empty_table()
    position = manifest.schema.get_field_index("seed")
    other = manifest.set_column(position, pa.field("seed", pa.int32()), pa.array([], pa.int32()))
    pq.write_table(other, tmp_path / MANIFEST)
    with pytest.raises(
        InputError, match=r"manifest\.parquet: found seed: int32, expected seed: int64 not null; delete"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["extra.txt", ".shards.parquet.partial", "copy/a.tar"])
def test_a_folder_with_more_than_the_shard_set_is_not_whole(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(
        InputError, match=f"found {name.split('/', maxsplit=1)[0]} beyond what shards.parquet lists, and lacks nothing"
    ):
        verify_shard_set(folder)
