"""The one formula by which layers become an image, and the scale of pixels, used by data sets and generators alike."""

import torch

from cgn.contracts import Images, Masks, Pixels


def compose(mask: Masks, foreground: Images, background: Images) -> Images:
    """The image that shows `foreground` where the mask is 1 and `background` where it is 0.

    Source: Sauer & Geiger 2021, section 3.1, equation 3: x = m * f + (1 - m) * b.
    """
    return mask * foreground + (1 - mask) * background


def worn(mask: Masks, *, hard: bool) -> Masks:
    """The mask as images wear it: where data have hard masks, a pixel is the object's or it is not."""
    return (mask > 0.5).float() if hard else mask.float()


def to_images(pixels: Pixels) -> Images:
    """What lies on disk as what networks see: [0, 255] to [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1)


def to_pixels(images: Images) -> Pixels:
    """What networks make as what lies on disk: [-1, 1] to [0, 255], rounded, values beyond clipped."""
    return images.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
