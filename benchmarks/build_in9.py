"""Source images per minute that become all of ImageNet-9, JPEGs and tars included: from given masks, and by GrabCut.

Works on a small ImageNet-9, a folder with original/<class>/<n01440764_name>.png and mask/ likewise; GrabCut gets the boxes of its masks.
With --side 375 the images are enlarged first to 500 x 375, as photographs are.

Usage: python -m benchmarks.build_in9 [--images FOLDER] [--side PIXELS]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common import prepare, report, second_part, seconds, summary
from cgn.config import ImagenetScale
from cgn.data.image_tables import list_images, write_images
from cgn.data.imagenet9 import box_of
from cgn.shards.mixes import FG_MASK, read_mixes, verify_mixes
from stages.build_in9 import build

_PARTS = 2  # train and val are both all images


def main() -> None:
    """Build it some times from each source of masks and print the medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=Path, default=Path("../shared/data/in9_mini"))
    options.add_argument("--side", type=int, help="of the images that are read, instead of their own")
    options.add_argument("--size", type=int, default=224, help="of the images that are written")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--masks", nargs="+", default=["given", "grabcut"], choices=("given", "grabcut"))
    args = options.parse_args()
    scale = prepare().imagenet_scales["tiny"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        num_images = lay_out(args.images, folder, args.side)
        figures = {}
        for masks in args.masks:
            of = scale_of(scale, folder, masks, args.size)
            write_images(folder, list_images(folder, of.images))
            figures[masks] = measured(folder, of, num_images, num_workers=args.workers, repeats=args.repeats)
    report(
        "build_in9",
        source_images=num_images,
        source_px=args.side or "as they are",
        written_px=args.size,
        workers=args.workers,
        **figures,
    )


def lay_out(mini: Path, folder: Path, side: int | None) -> int:
    """Write photographs, masks and boxes in ImageNet's form; returns how many there are of each."""
    files = sorted((mini / "original").rglob("*.png"))
    for file in files:
        name = f"{file.stem.partition('_')[0]}/{file.name}"
        image = Image.open(file).convert("RGB")
        mask = Image.open(mini / "mask" / file.relative_to(mini / "original")).convert("L")
        if side is not None:
            image, mask = (one.resize((side * 4 // 3, side), Image.Resampling.BICUBIC) for one in (image, mask))
        paths = [folder / base / name for base in ("photographs", "masks", "boxes")]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        image.save(paths[0].with_suffix(".JPEG"), quality=90)
        mask.save(paths[1])
        box = box_of(torch.from_numpy(np.array(mask))[None])
        edges = "".join(
            f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        size = f"<size><width>{image.width}</width><height>{image.height}</height></size>"
        text = f"<annotation>{size}<object><bndbox>{edges}</bndbox></object></annotation>"
        paths[2].with_suffix(".xml").write_text(text, encoding="utf-8")
    return len(files)


def scale_of(scale: ImagenetScale, folder: Path, masks: str, size_px: int) -> ImagenetScale:
    """The same scale with the images of `folder`, in both parts, and its masks or boxes."""
    photographs = folder / "photographs"
    train, of_parts = second_part(photographs, folder / ("masks" if masks == "given" else "boxes"), folder / masks)
    images = {"source": "folder", "train": train, "val": str(photographs), "val_share": None}
    kept = {"masks": masks, "masks_from": of_parts, "size_px": size_px}
    content = scale.model_dump()
    content |= {"images": images, "in9": content["in9"] | kept, "sets": content["sets"] | {"cue_conflict": None}}
    return ImagenetScale.model_validate(content)


def measured(folder: Path, scale: ImagenetScale, num_images: int, *, num_workers: int, repeats: int) -> dict[str, Any]:
    """Images per minute; those that the original rules skip are looked at and not written."""
    out = folder / "in9"

    def once() -> None:
        build(out, images=folder, weights=folder, scale=scale, num_workers=num_workers)

    times = [seconds(once) for _ in range(repeats)]
    used = sum(read_mixes(out, part, FG_MASK).num_rows for part in ("train", "val"))
    return {
        "looked_at": _PARTS * num_images,
        "used": used,
        "written": verify_mixes(out),
        "source_images_per_minute": summary([60 * used / time for time in times]),
        "written_images_per_minute": summary([60 * verify_mixes(out) / time for time in times]),
        "seconds": summary(times),
    }


if __name__ == "__main__":
    main()
