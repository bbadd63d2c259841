"""Prediction tables of classifiers of natural images: what `predict_imagenet` writes, and all that `score_imagenet` reads.

Two tables in a folder. The logits of every image and head in `predictions.parquet`, so that top-5, coarser classes and averages of
heads are computed later; of the challenge, whose images are too many for that, the decisions in `challenge.parquet`.
Both are written and read in groups of rows, so that memory does not grow with the sets.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from cgn.data.imagenet_classes import IN9, NUM_CLASSES, SIXTEEN
from cgn.errors import InputError
from cgn.schemas import FACTORS

PREDICTIONS, CHALLENGE = "predictions.parquet", "challenge.parquet"

# What is asked for a decision. A classifier of one head has `only`; an ensemble has the others. `average` is over all three heads'
# logits; `shape_texture` over the two that ImageNet-9 was evaluated with in the paper.
HEADS = FACTORS
ONLY = "only"
_PREDICTORS: Mapping[str, tuple[str, ...]] = {
    ONLY: (ONLY,),
    "average": HEADS,
    "shape_texture": ("shape", "texture"),
    **{head: (head,) for head in HEADS},
}
PREDICTORS = tuple(_PREDICTORS)
NUM_LOGITS = {"imagenet": NUM_CLASSES, "in9": len(IN9)}  # by the classes that a classifier tells

# A row per image and head, ordered by (set, place in the set, head). The schema's metadata has `classes` (imagenet or in9), the heads
# (`heads`, JSON), the protocol (`protocol`, JSON), and per set that is missing the reason (`absent`, JSON).
PREDICTIONS_SCHEMA = pa.schema(
    [
        # train, val (photographs), stylized, imagenet_a, imagenet_sketch, cue_conflict, in9_<variant>, released_<variant>
        pa.field("set", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("head", pa.string(), nullable=False),
        pa.field("label", pa.int16()),  # ImageNet's number; null in cue_conflict and in released_<variant>
        pa.field("in9_label", pa.int16()),  # of in9_<variant> and released_<variant>
        pa.field("shape_category", pa.string()),  # of cue_conflict
        pa.field("texture_category", pa.string()),
        pa.field(
            "foreground", pa.string()
        ),  # of in9_<variant> and released_<variant>: of whose image the object or what is left is
        pa.field("logits", pa.list_(pa.float16()), nullable=False),  # 1000 or 9
    ]
)
KNOWN = ("label", "in9_label", "shape_category", "texture_category", "foreground")  # what may be known of an image

# A row per foreground, background and predictor, ordered by (set, foreground, background as drawn, predictor). Same metadata.
CHALLENGE_SCHEMA = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),  # in9 or released
        pa.field("foreground", pa.string(), nullable=False),
        pa.field("background", pa.string(), nullable=False),
        pa.field("in9_label", pa.int16(), nullable=False),
        pa.field("predictor", pa.string(), nullable=False),
        pa.field("predicted", pa.int16(), nullable=False),  # of ImageNet-9, -1: none of its classes
    ]
)
CHALLENGE_SETS = ("in9", "released")

WHOLE_SETS = ("train", "val", "stylized", "imagenet_a", "imagenet_sketch")  # of ImageNet's classes
CUE_CONFLICT = "cue_conflict"
IN9_SETS = {"in9": "in9", "released_in9": "released"}  # what names of sets begin with, by the name of them all

REMEDY = "delete its folder and run `dvc repro predict_imagenet predict_imagenet_with`"
_BYTES_PER_GROUP = 12_000_000  # of rows that are written and read at once: six thousand of a thousand logits
_METADATA = ("classes", "heads", "protocol", "absent")

Logits = Float[Tensor, "images classes"]


def predictors_of(heads: Sequence[str]) -> tuple[str, ...]:
    """The predictors of a classifier with these heads.

    Raises: InputError where they are neither `only` nor one per factor.
    """
    if set(heads) not in ({ONLY}, set(HEADS)) or len(set(heads)) != len(heads):
        raise InputError(f"heads: found {', '.join(heads) or 'none'}, expected {ONLY}, or {', '.join(HEADS)}")
    return tuple(name for name, needed in _PREDICTORS.items() if set(needed) <= set(heads))


def definition(predictor: str) -> str:
    """What a predictor is, in words."""
    needed = _PREDICTORS[predictor]
    if predictor == ONLY:
        return "the classifier's one head"
    return f"the head of {needed[0]}" if len(needed) == 1 else f"the mean of the logits of {', '.join(needed)}"


def predictor_logits(logits: Mapping[str, Logits], predictor: str) -> Logits:
    """Logits that a predictor decides by, from those of heads as tables hold them: float16 to float32."""
    parts = [logits[head].float() for head in _PREDICTORS[predictor]]
    return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]


def as_stored(logits: Tensor, what: str) -> Tensor:
    """Logits in float16, as every decision is made from them.

    Raises: InputError, beginning with `what`, where one is not finite in it.
    """
    stored = logits.half()
    if not bool(torch.isfinite(stored).all()):
        raise InputError(
            f"{what}: found logits that are not finite, or beyond 65,504, expected numbers; train the classifier anew, or at a "
            "lower learning rate"
        )
    return stored


# ---- writing


class TableWriter:
    """Adds rows to a table, in groups as large as reading takes well."""

    def __init__(self, path: Path, schema: pa.Schema, metadata: Mapping[str, Any]) -> None:
        """Of `metadata`, strings stay and anything else becomes JSON."""
        encoded = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
        self._schema = schema.with_metadata(encoded)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_page_checksum=True)
        self._rows: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, columns: Mapping[str, Any]) -> None:
        """Rows, a sequence or an Arrow array per column; a column that is left out is null."""
        num = len(next(iter(columns.values())))
        arrays = [_array(columns.get(field.name, [None] * num), field) for field in self._schema]
        self._rows.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._bytes += self._rows[-1].nbytes
        if self._bytes >= _BYTES_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what was added as a group of rows."""
        if self._rows:
            table = pa.Table.from_batches(self._rows)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Write the last group and the end of the file."""
        self.flush()
        self._writer.close()


@contextmanager
def writing(path: Path, schema: pa.Schema, metadata: Mapping[str, Any]) -> Iterator[TableWriter]:
    """A table at `path` that rows can be added to; it is whole when the block ends well."""
    writer = TableWriter(path, schema, metadata)
    try:
        yield writer
    finally:
        writer.close()


def head_rows(
    name: str, keys: Sequence[str], known: Mapping[str, Sequence[Any]], logits: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Columns of PREDICTIONS_SCHEMA of some images of a set: what is known of them, and float16 logits per head, (images, classes)."""
    heads, num = list(logits), len(keys)
    values = torch.stack([logits[head] for head in heads], 1)  # images heads classes
    offsets = np.arange(num * len(heads) + 1, dtype=np.int32) * values.shape[2]
    return {
        "set": [name] * (num * len(heads)),
        "key": _each(keys, len(heads)),
        "head": heads * num,
        **{column: _each(given, len(heads)) for column, given in known.items()},
        "logits": pa.ListArray.from_arrays(offsets, pa.array(values.flatten().numpy())),
    }


def _each(values: Sequence[Any], times: int) -> list[Any]:
    return [value for value in values for _ in range(times)]


def _array(values: Any, field: pa.Field) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, field.type)


# ---- reading


class Metadata(NamedTuple):
    """What a table says of itself."""

    classes: str
    heads: list[str]
    protocol: dict[str, Any]
    absent: dict[str, str]


class Predicted(NamedTuple):
    """Some images of one set, in the table's order."""

    set: str
    keys: list[str]
    known: Mapping[str, list[Any]]  # columns of KNOWN; None where nothing is known
    logits: Mapping[str, Tensor]  # float16, by head


def read_metadata(path: Path, schema: pa.Schema) -> Metadata:
    """What is written in a table's schema, after the schema itself was held against `schema`.

    Raises: InputError where the file is missing, torn, of another schema, or does not say of which classes and heads it is.
    """
    return _metadata(path, _opened(path, schema))


def read_predictions(path: Path) -> Iterator[Predicted]:
    """The images of a prediction table, some at a time, never two sets at once.

    Raises: InputError, naming the file, where it is missing, torn, damaged, empty, of another schema, or where logits are not finite
    or not of one classifier's classes, an image lacks a head, a label or category does not exist, or a set holds a key twice or comes
    in two parts.
    """
    file = _opened(path, PREDICTIONS_SCHEMA)
    metadata = _metadata(path, file)
    if file.metadata.num_rows == 0:
        raise InputError(f"{path}: found no rows, expected one per image and head; {REMEDY}")
    seen: dict[str, set[str]] = {}
    for table in _groups(path, file):
        for name in table["set"].unique().to_pylist():
            some = _images(path, table.filter(pc.equal(table["set"], name)), name, metadata)
            if name in seen and name != next(reversed(seen)):
                raise InputError(f"{path}: found {name} in two parts, expected one set after another; {REMEDY}")
            keys = seen.setdefault(name, set())
            if len(set(some.keys)) < len(some.keys) or not keys.isdisjoint(some.keys):
                raise InputError(f"{path}: found an image of {name} twice, expected every one once; {REMEDY}")
            keys.update(some.keys)
            yield some


def read_challenge(path: Path) -> Iterator[pa.Table]:
    """The rows of the challenge's table, some at a time, without the names of backgrounds; there may be none.

    Raises: InputError where it is missing, torn, damaged, of another schema, or holds a label, class, predictor or set that does not
    exist.
    """
    file = _opened(path, CHALLENGE_SCHEMA)
    predictors = predictors_of(_metadata(path, file).heads)
    for table in _groups(path, file, ["set", "foreground", "in9_label", "predictor", "predicted"]):
        _within(path, table["in9_label"], 0, len(IN9) - 1)
        _within(path, table["predicted"], -1, len(IN9) - 1)
        for column, allowed in (("predictor", predictors), ("set", CHALLENGE_SETS)):
            _allowed(path, table[column], column, allowed)
        yield table


def _opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    if not path.is_file():
        raise InputError(f"{path} is missing; {REMEDY}")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        found = file.schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); {REMEDY}") from error
    if not found.equals(schema):
        beyond, missing = (
            [
                f"{field.name}: {field.type}"
                for field in one
                if field.name not in other.names or other.field(field.name) != field
            ]
            for one, other in ((found, schema), (schema, found))
        )
        differing = "; ".join(beyond) or "no other column"
        lacking = "; ".join(missing) or "another order"
        raise InputError(f"{path}: found {differing}, expected {lacking}; {REMEDY}")
    return file


def _metadata(path: Path, file: pq.ParquetFile) -> Metadata:
    found = {name.decode(): value.decode() for name, value in (file.schema_arrow.metadata or {}).items()}
    if missing := [name for name in _METADATA if name not in found]:
        raise InputError(f"{path}: found no {', '.join(missing)} in its metadata, expected them; {REMEDY}")
    if found["classes"] not in NUM_LOGITS:
        raise InputError(f"{path}: found the classes {found['classes']!r}, allowed: {', '.join(NUM_LOGITS)}; {REMEDY}")
    try:
        heads, protocol, absent = (json.loads(found[name]) for name in ("heads", "protocol", "absent"))
        predictors_of(heads)
        return Metadata(found["classes"], list(heads), dict(protocol), dict(absent))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: found metadata that cannot be read ({error}); {REMEDY}") from error


def _groups(path: Path, file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.Table]:
    for number in range(file.num_row_groups):
        try:
            yield file.read_row_group(number, columns=columns)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error


def _images(path: Path, rows: pa.Table, name: str, metadata: Metadata) -> Predicted:
    heads, width = metadata.heads, NUM_LOGITS[metadata.classes]
    num, remainder = divmod(rows.num_rows, len(heads))
    columns = {column: rows[column].to_pylist() for column in ("key", *KNOWN)}
    if (
        remainder
        or rows["head"].to_pylist() != heads * num
        or columns["key"] != _each(columns["key"][:: len(heads)], len(heads))
    ):
        raise InputError(
            f"{path}: found {name} with other heads than {', '.join(heads)} of some image, expected those of every image; {REMEDY}"
        )
    _within(path, rows["label"], 0, NUM_CLASSES - 1)
    _within(path, rows["in9_label"], 0, len(IN9) - 1)
    for column in ("shape_category", "texture_category"):
        _allowed(path, rows[column], column, SIXTEEN)
    lengths = pc.unique(pc.list_value_length(rows["logits"])).to_pylist()
    if lengths != [width]:
        found = " and ".join(map(str, sorted(lengths)))
        raise InputError(
            f"{path}: found {found} logits per row in {name}, expected {width}, for its classifier tells the classes of "
            f"{metadata.classes}; {REMEDY}"
        )
    values = rows["logits"].combine_chunks().flatten()
    flat = values.to_numpy(zero_copy_only=False).astype(np.float16)  # nulls become NaN
    if not np.isfinite(flat).all():
        raise InputError(f"{path}: found logits of {name} that are no finite numbers, expected such; {REMEDY}")
    logits = torch.from_numpy(flat).reshape(num, len(heads), width)
    known = {column: columns[column][:: len(heads)] for column in KNOWN}
    return Predicted(name, columns["key"][:: len(heads)], known, dict(zip(heads, logits.unbind(1), strict=True)))


def _within(path: Path, column: pa.ChunkedArray, first: int, last: int) -> None:
    limits = pc.min_max(column).as_py()
    if limits["min"] is not None and not first <= limits["min"] <= limits["max"] <= last:
        raise InputError(
            f"{path}: found classes from {limits['min']} to {limits['max']}, expected {first} to {last}; {REMEDY}"
        )


def _allowed(path: Path, column: pa.ChunkedArray, what: str, allowed: Sequence[str] | Mapping[str, Any]) -> None:
    for name in column.unique().to_pylist():
        if name is not None and name not in allowed:
            raise InputError(f"{path}: found the {what} {name!r}, allowed: {', '.join(allowed)}; {REMEDY}")
