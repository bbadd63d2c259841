"""What of the ImageNet sections of params.yaml is refused."""

import re
from pathlib import Path

import pytest
from imagenet_road import params_with
from isolation import ROOT

from cgn.config import ConfigError, check_params, load_params


@pytest.mark.parametrize(
    ("kind", "which", "expected"),
    [
        ("saliency", {}, r"u2net.pth \(176 MB\)"),
        (
            "inception",
            {},
            r"weights-inception-2015-12-05-6726825d.pth \(91 MB\) of torch-fidelity, from .* or set source",
        ),
        ("classifier", {"name": "resnet50"}, r"torchvision's file of that classifier, such as resnet50-0676ba61.pth"),
    ],
)
def test_a_missing_file_ends_the_check_with_what_to_get_and_where_to_say_so(
    tmp_path: Path, kind: str, which: dict[str, str], expected: str
) -> None:
    given = {"source": "path", "location": "no/such/file.pth", "sha256": None, **which}
    params = params_with(tmp_path, **{f"weights__{kind}": given})
    message = f"imagenet_scales.tiny.weights.{kind}.location: found no file at 'no/such/file.pth', expected {expected}"
    with pytest.raises(ConfigError, match=message) as caught:
        check_params(params)
    assert f"or write `{kind}: {{source: path, " in str(caught.value)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    given = {"source": "path", "location": "no/such/file.pth", "sha256": None}
    params = params_with(tmp_path, weights__vgg=given, weights__saliency={**given, "location": "nor/this.pth"})
    with pytest.raises(ConfigError, match=r"weights.saliency.location: .*; missing too: vgg at 'no/such/file.pth'$"):
        check_params(params)


def test_more_processes_than_images_of_a_step_end_the_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"imagenet_scales.tiny.train.num_processes: found 9, expected at most 4"):
        load_params(params_with(tmp_path, train__num_processes=9))


def test_a_missing_folder_of_photographs_ends_the_check(tmp_path: Path) -> None:
    params = params_with(tmp_path, image_quality__real_images="no/such/folder")
    with pytest.raises(ConfigError, match=r"image_quality.real_images: found no folder at 'no/such/folder'"):
        check_params(params)


def test_photographs_and_a_backbone_are_asked_for_where_classifiers_are_listed_alone(tmp_path: Path) -> None:
    images = {"source": "folder", "train": str(tmp_path), "val": "no/such/folder", "val_share": None}
    params = params_with(tmp_path, images=images, in9__masks="saliency", sets__cue_conflict=None)
    with pytest.raises(
        ConfigError, match=r"images.val: found no folder at 'no/such/folder', .* ILSVRC2012_img_val.tar"
    ):
        check_params(params)
    text = params.read_text(encoding="utf-8")
    text = re.sub(r"^(imagenet_(?:classifiers|mixes):) .*$", r"\1 []", text, flags=re.MULTILINE)
    params.write_text(text, encoding="utf-8")
    check_params(params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights__saliency": {"source": "path", "location": None, "sha256": None}}, "location: found nothing"),
        (
            {"weights__saliency": {"source": "download", "location": "https://a", "sha256": None}},
            "sha256: found nothing",
        ),
        ({"weights__saliency": {"source": "download", "location": "http://a", "sha256": "0" * 8}}, "starts with https"),
        ({"weights__saliency": {"source": "path", "location": "a", "sha256": "xyz"}}, "expected 8 to 64 digits"),
        ({"weights__biggan": {"source": "path", "location": "a", "sha256": None}}, "found 64 px with channel_width 8"),
        *(
            (
                {f"weights__{kind}": {"source": "none", "location": None, "sha256": None}},
                f"weights.{kind}.source: found 'none', expected random, path or download: nothing goes without",
            )
            for kind in ("biggan", "saliency", "vgg")
        ),
        ({"image_quality__num_splits": 11}, r"score_at: found 10, expected 11, which is num_splits, to 20 images"),
        ({"image_quality__score_at": [21]}, r"score_at: found 21, expected 2, which is num_splits, to 20 images"),
        ({"image_quality__score_at": [10, 5]}, r"score_at: found \[10, 5\], expected rising counts"),
        ({"image_quality__num_images": 1}, r"image_quality.num_images: found 1"),
        ({"networks__channel_width": 12}, "expected a multiple of 8"),
        ({"networks__vgg": "vgg19"}, "networks.vgg: found 'vgg19', .*'vgg16' or 'vgg16_bn'"),
        ({"train__num_processes": 0}, "train.num_processes: found 0"),
        ({"generate__truncation": 0.0}, r"generate.truncation: found 0.0"),
        ({"generate__shape_classes": [0, 1000]}, r"generate.shape_classes.1: found 1000"),
        ({"illustrate__layers": [[0, 1, 1000]]}, r"illustrate.layers.0.2: found 1000"),
        ({"illustrate__layers": [[0, 1]]}, r"illustrate.layers.0: found \[0, 1\]"),
        ({"illustrate__layers": [[0, 1, 2], [0, 1, 2]]}, r"illustrate.layers.1: found \[0, 1, 2\] once more"),
        ({"illustrate__interpolations__pairs": [[0, 1, 2]]}, r"illustrate.interpolations.pairs.0: found"),
        ({"illustrate__interpolations__pairs": [[-1, 1]]}, r"illustrate.interpolations.pairs.0.0: found -1"),
        ({"illustrate__interpolations__columns": 1}, r"illustrate.interpolations.columns: found 1"),
        ({"illustrate__films__classes": [[0, 1, 1.5]]}, r"illustrate.films.classes.0.2: found 1.5"),
        ({"illustrate__films__stops": 1}, r"illustrate.films.stops: found 1"),
        ({"illustrate__films__frames": 0}, r"illustrate.films.frames: found 0"),
        ({"illustrate__films__frames_per_second": 60}, r"illustrate.films.frames_per_second: found 60"),
        ({"illustrate__transformations": [[0, 1, 2]]}, r"illustrate.transformations.0: found"),
        ({"illustrate__failures": 0}, r"illustrate.failures: found 0"),
        ({"illustrate__truncation": 1.5}, r"illustrate.truncation: found 1.5"),
        ({"illustrate__micro_batch": 0}, r"illustrate.micro_batch: found 0"),
    ],
)
def test_bad_sections_name_their_field(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_params(params_with(tmp_path, **changes))


def test_unknown_scales_recipes_and_changes_are_named(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for old, new, message in (
        ("imagenet: []", "imagenet: [huge]", "imagenet: found 'huge', allowed: full, mini, tiny"),
        ("imagenet_recipes: [authors_code]", "imagenet_recipes: [mine]", "found 'mine', allowed: authors_code, paper"),
        (
            "imagenet_changes: [unchanged]",
            "imagenet_changes: [no_l1]",
            "found 'no_l1', allowed: no_background, .*unchanged",
        ),
        (
            "  unchanged: {}\n  no_shape",
            "  unchanged: {lambda_l1: -1.0}\n  no_shape",
            r"imagenet_ablation.unchanged.lambda_l1: found -1.0",
        ),
    ):
        path = tmp_path / "params.yaml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_params(path)
