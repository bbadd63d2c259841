"""Shard sets: folders of WebDataset tars with a Parquet manifest, the one form in which images pass between stages."""

from cgn.shards.manifest import (
    IMAGENET_PREFIX,
    MANIFEST,
    ShardEntry,
    check_name,
    name_of,
    read_manifest,
    splits_of,
    write_tables,
)
from cgn.shards.reader import read_split
from cgn.shards.verify import verify_shard_set
from cgn.shards.writer import Batch, write_shard, write_shard_set

__all__ = [
    "IMAGENET_PREFIX",
    "MANIFEST",
    "Batch",
    "ShardEntry",
    "check_name",
    "name_of",
    "read_manifest",
    "read_split",
    "splits_of",
    "verify_shard_set",
    "write_shard",
    "write_shard_set",
    "write_tables",
]
