"""Prediction tables of classifiers of natural images: what `predict_imagenet` writes, and all that `score_imagenet` reads.

Two tables in a folder. The logits of every image and head in `predictions.parquet`, so that top-5, coarser classes and averages of
heads are computed later; of the challenge, whose images are too many for that, the decisions in `challenge.parquet`.
"""

import pyarrow as pa

PREDICTIONS, CHALLENGE = "predictions.parquet", "challenge.parquet"

# What is asked for a decision. A classifier of one head has `only`; an ensemble has the others. `average` is over all three heads'
# logits; `shape_texture` over the two that ImageNet-9 was evaluated with in the paper.
HEADS = ("shape", "texture", "background")
PREDICTORS = ("only", "average", "shape_texture", *HEADS)

# A row per image and head, ordered by (set, place in the set, head). The schema's metadata has `classes` (imagenet or in9), the
# protocol as JSON (`protocol`), and per set that is missing the reason (`absent`, JSON).
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
        pa.field("logits", pa.list_(pa.float16()), nullable=False),  # 1000 or 9
    ]
)

# A row per foreground, background and predictor.
CHALLENGE_SCHEMA = pa.schema(
    [
        pa.field("foreground", pa.string(), nullable=False),
        pa.field("background", pa.string(), nullable=False),
        pa.field("in9_label", pa.int16(), nullable=False),
        pa.field("predictor", pa.string(), nullable=False),
        pa.field("predicted", pa.int16(), nullable=False),  # of ImageNet-9, -1: none of its classes
    ]
)
