"""What classifiers of natural images learn from: encoded images, and objects before other backgrounds."""

from pathlib import Path

import pytest
import torch
from made_training import PX, setting, training
from PIL import Image

from cgn.classifiers.imagenet_sources import EncodedImages, SwappedImages, of_in9
from cgn.data.preprocessing import Square, as_pixels, training_pixels
from cgn.encoded import Encoded, Samples
from cgn.errors import InputError
from cgn.rng import stream


def stored(folder: Path, name: str, colours: list[tuple[int, int, int]], *, grey: bool = False) -> list[Encoded]:
    found = []
    for number, colour in enumerate(colours):
        image = Image.new("RGB", (PX, PX), colour)
        path = folder / f"{name}-{number}.png"
        (image.convert("L") if grey else image).save(path)
        found.append(Encoded(path))
    return found


def samples_of(images: list[Encoded], classes: list[list[int]], name: str = "x") -> Samples:
    return Samples(images, [f"{name}-{number}" for number in range(len(images))], torch.tensor(classes))


def whole(image: Image.Image, _: torch.Generator) -> Square:
    return as_pixels(image)


def test_swapped_images_are_objects_before_backgrounds_of_others_drawn_anew(tmp_path: Path) -> None:
    classes = [[number] * 3 for number in (3, 4, 5, 6)]
    objects = samples_of(stored(tmp_path, "object", [(200, 10 * n, 0) for n in range(4)]), classes)
    backgrounds = samples_of(stored(tmp_path, "back", [(0, 10 * n, 100) for n in range(4)]), classes)
    half = Image.new("L", (PX, PX))
    half.paste(255, (0, 0, PX // 2, PX))
    masks = []
    for number in range(4):
        half.save(tmp_path / f"mask-{number}.png")
        masks.append(Encoded(tmp_path / f"mask-{number}.png"))
    images = SwappedImages(objects, samples_of(masks, classes), backgrounds, whole, seed=0, name="swapped")
    partners = set()
    for row in range(4):
        for passes in range(20):
            other = images.partner(row, passes)
            assert other != row
            pixels = images.pixels(row, passes)
            assert pixels[:, 5, 2].tolist() == [200, 10 * row, 0]
            assert pixels[:, 5, -2].tolist() == [0, 10 * other, 100]
            assert images.labels(row, passes) == (row + 3, row + 3, other + 3)
            partners.add((row, other))
    assert len(partners) == 12  # every other image at some time
    Image.new("L", (8, 8)).save(tmp_path / "mask-2.png")
    with pytest.raises(InputError, match=r"x-2: found an image of \(16, 16\), its mask of \(8, 8\)"):
        images.pixels(2, 0)
    with pytest.raises(InputError, match="swapped: found 4 objects, 4 masks and 1 backgrounds"):
        SwappedImages(objects, samples_of(masks, classes), samples_of(masks[:1], classes[:1]), whole, seed=0, name="x")


def test_what_is_drawn_of_an_image_depends_on_the_pass_and_on_the_seed(tmp_path: Path) -> None:
    picture = torch.randint(0, 256, (40, 30, 3), generator=stream(0), dtype=torch.uint8).numpy()
    Image.fromarray(picture).save(tmp_path / "a.png")
    samples = samples_of([Encoded(tmp_path / "a.png")], [[1, 1, 1]])

    def prepare(image: Image.Image, rng: torch.Generator) -> Square:
        return training_pixels(image, PX, rng)

    views = [
        EncodedImages(samples, prepare, seed=seed, name=name).pixels(0, passes)
        for seed, name, passes in ((0, "x", 0), (0, "x", 1), (1, "x", 0), (0, "y", 0), (0, "x", 0))
    ]
    assert torch.equal(views[0], views[4])
    assert len({view.numpy().tobytes() for view in views}) == 4


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_ends_the_run_and_is_named(tmp_path: Path, num_workers: int) -> None:
    images = stored(tmp_path, "a", [(0, 0, 0)] * 4)
    images[2].path.write_bytes(images[2].path.read_bytes()[:40])
    source = EncodedImages(samples_of(images, [[0] * 3] * 4), whole, seed=0, name="images")
    run = training(setting(num_workers=num_workers), sources={"images": source})
    with pytest.raises(InputError, match=r"^\S*a-2.png: found no picture.*mend it or take it out$"):
        list(run.records())
    images[2].path.unlink()
    with pytest.raises(InputError, match=r"a-2.png is missing; run `dvc repro`"):
        source.pixels(2, 0)


def test_only_images_of_imagenet_9_are_kept_with_its_labels(tmp_path: Path) -> None:
    images = stored(tmp_path, "a", [(0, 0, 0)] * 4)
    samples = samples_of(images, [[0, 0, 0], [999, 999, 999], [151, 999, -1], [999, 151, 7]])
    real = of_in9(samples, of=0, what="images")
    assert list(real.keys) == ["x-0", "x-2"]
    assert real.classes.tolist() == [[8, 8, 8], [0, -1, -1]]
    assert [image.path.name for image in real.images] == ["a-0.png", "a-2.png"]
    made = of_in9(samples, of=None, what="generated")
    assert made.classes.tolist() == [[8, 8, 8], [0, -1, -1], [-1, 0, 1]]
    with pytest.raises(InputError, match="generated: found none of ImageNet-9's classes among 1 images"):
        of_in9(samples_of(images[:1], [[999] * 3]), of=None, what="generated")
