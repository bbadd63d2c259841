"""The commands of docs/howto.md on a tiny repository: push at a tag, pull in a clone, get from elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from isolation import own_settings

from cgn.shards import read_split, verify_shard_set

OUT = "data/shards"
TAG = "shards-1"

MAKE_SHARDS = """
from pathlib import Path
import torch
from cgn.contracts import Factors
from cgn.shards import Batch, write_shard_set

labels = torch.arange(20) % 10
pixels = torch.arange(20 * 3 * 32 * 32).reshape(20, 3, 32, 32).remainder(251).to(torch.uint8)
batch = Batch(pixels, labels, Factors(labels, labels, labels), torch.zeros(20, dtype=torch.bool))
write_shard_set(Path("data/shards"), name="tiny", seed=0, splits={"generated": batch}, images_per_shard=10)
"""

PIPELINE = f"""
stages:
  make:
    cmd: {sys.executable} make_shards.py
    deps: [make_shards.py]
    outs: [{OUT}]
  other:
    cmd: echo other > other.txt
    outs: [other.txt]
"""


class Shell:
    """Runs git and dvc away from this user's own settings and caches."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, **own_settings(folder)}

    def run(self, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        words = command.split()
        program = [sys.executable, "-m", "dvc"] if words[0] == "dvc" else words[:1]
        return subprocess.run(
            [*program, *words[1:]], cwd=cwd, env=self.environment, capture_output=True, text=True, check=False
        )

    def __call__(self, command: str, cwd: Path) -> None:
        done = self.run(command, cwd)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.timeout(300)
def test_a_shard_set_is_pushed_at_a_tag_pulled_got_and_never_taken_corrupted(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    origin, store, bare = tmp_path / "origin", tmp_path / "store", tmp_path / "origin.git"
    origin.mkdir()
    (origin / "make_shards.py").write_text(MAKE_SHARDS)
    (origin / "dvc.yaml").write_text(PIPELINE)
    shell("git init --quiet", origin)
    shell("dvc init --quiet", origin)
    shell(f"dvc remote add --default store {store}", origin)
    shell("dvc remote modify store verify true", origin)
    shell("dvc repro --quiet", origin)
    shell(f"dvc push --quiet {OUT}", origin)
    shell("git add .", origin)
    shell("git commit --quiet --message shards", origin)
    shell(f"git tag {TAG}", origin)
    shell(f"git clone --quiet --bare {origin} {bare}", tmp_path)  # no cache beside it: the store is all there is
    assert verify_shard_set(origin / OUT) == 20

    shell(f"git clone --quiet --branch {TAG} {bare} clone", tmp_path)
    shell(f"dvc pull --quiet {OUT}", tmp_path / "clone")
    assert verify_shard_set(tmp_path / "clone" / OUT) == 20
    assert not (tmp_path / "clone" / "other.txt").exists()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shell(f"dvc get --quiet {bare.as_uri()} {OUT} --rev {TAG} --out got", elsewhere)
    assert verify_shard_set(elsewhere / "got") == 20
    assert read_split(elsewhere / "got", "generated").labels.tolist() == [*range(10)] * 2

    largest = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    shell(f"git clone --quiet --branch {TAG} {bare} late", tmp_path)
    failed = shell.run(f"dvc pull {OUT}", tmp_path / "late")
    assert failed.returncode != 0
    assert not (tmp_path / "late" / OUT / "manifest.parquet").exists()

    shell(f"git clone --quiet --branch {TAG} {bare} careless", tmp_path)
    shell("dvc remote modify --local store verify false", tmp_path / "careless")
    shell(f"dvc pull --quiet {OUT}", tmp_path / "careless")  # without verify the damage comes through,
    with pytest.raises(ValueError, match="tiny-generated"):  # and only the shard set's own hashes show it
        verify_shard_set(tmp_path / "careless" / OUT)

    largest.unlink()
    for listing in store.rglob("*.dir"):  # else DVC takes the listing for proof that the rest is there
        listing.unlink()
    shell(f"dvc push --quiet {OUT}", origin)
    shell(f"dvc pull --quiet {OUT}", tmp_path / "late")
    assert verify_shard_set(tmp_path / "late" / OUT) == 20
