"""Plain layers of counterfactuals have colours that training images show."""

import torch
from tiny_generators import LABELS, PARAMS, PIXELS, RECIPES
from torch import Tensor

from cgn.contracts import Factors, Images, Labels, Masks, Pixels
from cgn.generators import MnistCgn
from cgn.generators.colours import PlainColours, plain_colours
from cgn.generators.counterfactuals import Originals, counterfactuals
from cgn.rng import stream
from cgn.training import seeded

NONE = torch.zeros(0, 3, dtype=torch.uint8)


class KnowsTheMask(MnistCgn):
    """Infers the mask that the test has put into it."""

    mask: Tensor

    def infer_masks(self, images: Images, labels: Labels) -> Masks:
        return self.mask[: len(labels)]


def plain_images(num_images: int = 40) -> tuple[Pixels, Labels, Tensor, Tensor]:
    """Images of one colour on another under a square mask, their labels, and the colours: uint8 (2, batch, 3)."""
    labels = torch.arange(num_images) % 10
    colours = torch.randint(0, 256, (2, num_images, 3), generator=stream(0, "colours"), dtype=torch.uint8)
    mask = torch.zeros(num_images, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1
    pixels = torch.where(mask > 0.5, colours[0, :, :, None, None], colours[1, :, :, None, None])
    return pixels, labels, colours, mask


def colours_under(mask: Tensor, pixels: Pixels, labels: Labels) -> PlainColours:
    generator = KnowsTheMask(PARAMS.generator["cgn"])
    generator.mask = mask
    return plain_colours(generator, pixels, labels, precision="float32")


def test_plain_layers_have_the_colours_of_the_training_images_of_their_class() -> None:
    pixels, labels, colours, mask = plain_images()
    wrong = mask.clone()
    wrong[:, :, 8:10, 8:10] = 0  # a few pixels on the wrong side change nothing
    for inferred in (mask, wrong):
        found = colours_under(inferred, pixels, labels)
        for layer, expected in zip(found, colours, strict=True):
            assert all(torch.equal(layer[label], expected[label::10]) for label in range(10))


def test_layers_that_are_not_plain_and_empty_ones_lend_no_colour() -> None:
    pixels, labels, colours, mask = plain_images()
    pixels[3::10, :, :6] = torch.randint(0, 256, (4, 3, 6, 32), generator=stream(1), dtype=torch.uint8)
    pixels[13, :, 8:20, 8:20] = torch.randint(0, 256, (3, 12, 12), generator=stream(2), dtype=torch.uint8)
    mask[5::10] = 0
    foreground, background = colours_under(mask, pixels, labels)
    assert len(foreground[5]) == 0, "no image shows such an object"
    assert torch.equal(foreground[3], colours[0, 3::10][[0, 2, 3]]), "most of the class's objects are plain"
    assert len(background[3]) == 4, "a fifth of each background is not plain"
    pixels[3::10] = torch.randint(0, 256, (4, 3, 32, 32), generator=stream(3), dtype=torch.uint8)
    assert [len(layer[3]) for layer in colours_under(mask, pixels, labels)] == [0, 0]


def square_shapes() -> KnowsTheMask:
    generator = KnowsTheMask(PARAMS.generator["cgn"])
    generator.mask = plain_images(10)[-1]
    return generator


def sampled(colours: PlainColours | None, generator: MnistCgn | None = None) -> tuple[Pixels, Factors]:
    """Forty counterfactuals of ten training images."""
    return counterfactuals(
        generator or RECIPES["fast"]().generator,
        40,
        originals=Originals(PIXELS[:10], LABELS[:10]),
        colours=colours,
        cf_ratio=4,
        hard_masks=True,
        precision="float32",
        seed=0,
        shard_index=0,
    )


def test_counterfactuals_have_plain_colours_where_layers_are_plain_and_textures_elsewhere() -> None:
    rng = stream(0, "palette")
    palette = [torch.randint(0, 256, (7, 3), generator=rng, dtype=torch.uint8) if k % 2 else NONE for k in range(10)]
    colours = PlainColours(tuple(palette), (NONE,) * 10)
    pixels, factors = sampled(colours, seeded(0, square_shapes))
    without, same_factors = sampled(None, seeded(0, square_shapes))
    assert all(torch.equal(left, right) for left, right in zip(factors, same_factors, strict=True))
    inside = plain_images(10)[-1].repeat_interleave(4, 0)[:, 0] > 0.5
    used = set()
    for image, other, mask, label in zip(pixels, without, inside, factors.texture.tolist(), strict=True):
        assert torch.equal(image[:, ~mask], other[:, ~mask])
        if label % 2:
            (colour,) = image[:, mask].T.unique(dim=0)
            used.add((label, (palette[label] == colour).all(1).nonzero()[0].item()))
        else:
            assert torch.equal(image, other)
    assert len(used) > 10, "one colour is as likely as another"


def test_objects_have_colours_of_objects_and_backgrounds_those_of_backgrounds() -> None:
    rng = stream(0, "palettes")
    objects, backgrounds = (
        torch.randint(low, low + 128, (10, 7, 3), generator=rng, dtype=torch.uint8) for low in (0, 128)
    )
    pixels, factors = sampled(PlainColours(tuple(objects), tuple(backgrounds)), square_shapes())
    for image, texture, background in zip(pixels, factors.texture, factors.background, strict=True):
        below = (image < 128).all(0)
        assert below.sum() == 12 * 12
        for seen, palette in ((image[:, below], objects[texture]), (image[:, ~below], backgrounds[background])):
            (colour,) = seen.T.unique(dim=0)
            assert (palette == colour).all(1).any()


def test_no_plain_layer_changes_no_byte() -> None:
    nothing = PlainColours((NONE,) * 10, (NONE,) * 10)
    assert torch.equal(sampled(nothing)[0], sampled(None)[0])
