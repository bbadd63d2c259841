"""Lets torchvision import beside a CPU-only torch; import this module before torchvision, everywhere.

torchvision's PyPI wheel is built against CUDA; on a CPU-only torch its compiled operators cannot load and its import
fails on their missing schemas. Declaring those two schemas first makes datasets, transforms, models and utils work.
Where the real operators load, this does nothing.
"""

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = ("nms", "qnms")
_library: torch.library.Library | None = None


def _real_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to mend: the import of torchvision itself says what is missing
    try:
        for extension in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(extension))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


if not _real_operators_load():
    _library = torch.library.Library("torchvision", "DEF")
    for _name in _SCHEMAS:
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
