"""Coarser classes of ImageNet's thousand, as ranges of its numbers: the nine of ImageNet-9, and the sixteen of cue conflict."""

from collections.abc import Mapping

import torch

from cgn.contracts import Labels

NUM_CLASSES = 1000

Ranges = tuple[tuple[int, int], ...]  # first and last number


def _single(*numbers: int) -> Ranges:
    return tuple((number, number) for number in numbers)


# Descendants of dog, bird, wheeled vehicle, reptile, carnivore, insect, musical instrument, primate and fish in WordNet, dogs not
# being counted as carnivores. Source: Xiao et al. 2020, "Noise or signal: the role of image backgrounds", appendix A.
IN9: Mapping[str, Ranges] = {
    "dog": ((151, 170), (173, 268)),
    "bird": ((7, 24), (87, 100), (127, 146)),
    "wheeled vehicle": (
        *_single(
            407, 408, 428, 436, 444, 468, 511, 547, 555, 561, 565, 569, 573, 586, 603, 609, 612, 627, 656, 661, 665
        ),
        *_single(
            670, 671, 675, 690, 705, 717, 734, 751, 757, 791, 802, 803, 817, 820, 829, 847, 864, 866, 867, 870, 880
        ),
    ),
    "reptile": ((33, 68),),
    "carnivore": ((269, 280), (286, 299), (356, 362), (387, 388)),
    "insect": ((300, 326),),
    "musical instrument": _single(
        *(
            401,
            402,
            420,
            432,
            486,
            494,
            513,
            541,
            546,
            558,
            566,
            577,
            579,
            593,
            594,
            641,
            642,
            683,
            684,
            687,
            699,
            776,
            822,
        ),
        *(875, 881, 889),
    ),
    "primate": ((365, 384),),
    "fish": ((0, 6), (389, 397)),
}

# Source: Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture", section A.5, and their repository
# texture-vs-shape.
SIXTEEN: Mapping[str, Ranges] = {
    "airplane": ((404, 404),),
    "bear": ((294, 297),),
    "bicycle": ((444, 444), (671, 671)),
    "bird": (
        *((8, 8), (10, 16), (18, 20), (22, 24), (80, 83), (87, 96), (98, 100), (127, 133)),
        (135, 145),
    ),
    "boat": _single(472, 554, 625, 814, 914),
    "bottle": _single(440, 720, 737, 898, 899, 901, 907),
    "car": _single(436, 511, 817),
    "cat": ((281, 286),),
    "chair": _single(423, 559, 765, 857),
    "clock": _single(409, 530, 892),
    "dog": (
        *((152, 191), (193, 203), (205, 226), (228, 241), (243, 250), (252, 257), (259, 259), (261, 263)),
        (265, 268),
    ),
    "elephant": ((385, 386),),
    "keyboard": _single(508, 878),
    "knife": ((499, 499),),
    "oven": ((766, 766),),
    "truck": _single(555, 569, 656, 675, 717, 734, 864, 867),
}


def coarse_labels(classes: Mapping[str, Ranges]) -> Labels:
    """For each of ImageNet's classes the place of the coarser one among `classes`, or -1 where it belongs to none: (1000)."""
    labels = torch.full((NUM_CLASSES,), -1)
    for place, ranges in enumerate(classes.values()):
        for first, last in ranges:
            labels[first : last + 1] = place
    return labels


def released_names() -> list[str]:
    """The folders of ImageNet-9's classes as they were released: 00_dog to 08_fish, with spaces where names have some."""
    return [f"{place:02d}_{name}" for place, name in enumerate(IN9)]
