"""The networks that judge images: Inception as it was published, torchvision's classifiers, and photographs for either."""

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (before torchvision)
from cgn.checkpoints import load_checkpoint
from cgn.config import ClassifierWeights, WeightsConfig
from cgn.contracts import Factors
from cgn.data.photographs import files_digest, photograph_files, read_photograph
from cgn.errors import InputError
from cgn.evaluation.image_quality import top_shares
from cgn.models.imagenet_classifiers import ImagenetClassifier, published_as
from cgn.models.inception import Inception, random_inception, resized
from cgn.models.judges import fetch_classifier, fetch_inception, load_classifier, load_inception
from cgn.rng import stream

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
SQUEEZENET = SHARED / "weights/squeezenet1_0/squeezenet1_0_deepcompression_torchvision_keys.pth"
PHOTOGRAPHS = SHARED / "data/imagenet_samples"


def pixels(num: int, size_px: int) -> Tensor:
    return torch.randint(0, 256, (num, 3, size_px, size_px), generator=stream(0), dtype=torch.uint8)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream(0))


def weights_at(path: Path, sha256: str | None = None) -> WeightsConfig:
    return WeightsConfig(source="path", location=str(path), sha256=sha256)


def classifier(name: str, source: str, location: Path | None = None) -> ClassifierWeights:
    given = {"source": source, "name": name, "location": None if location is None else str(location), "sha256": None}
    return ClassifierWeights.model_validate(given)


# ---- Inception


@pytest.fixture(scope="module")
def inception() -> Inception:
    """With statistics and weights that a wrong layer would show."""
    network, rng = random_inception(0), stream(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=rng)
            layer.running_var.uniform_(0.5, 1.5, generator=rng)
    return network


def test_inception_has_torchvisions_tensors_without_the_auxiliary_ones_and_with_1008_classes(
    inception: Inception,
) -> None:
    from torchvision.models import Inception_V3_Weights, inception_v3  # noqa: PLC0415

    with torch.device("meta"):
        theirs = inception_v3(weights=None, init_weights=False)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items() if "AuxLogits" not in name}
    shapes |= {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    assert {name: tuple(tensor.shape) for name, tensor in inception.layers.state_dict().items()} == shapes
    auxiliary = sum(part.numel() for part in theirs.AuxLogits.parameters())
    published = Inception_V3_Weights.IMAGENET1K_V1.meta["num_params"]
    count = sum(part.numel() for part in inception.parameters())
    assert count == published - auxiliary + 8 * (2048 + 1) == 23_850_960


def test_means_at_the_border_leave_out_the_padding(inception: Inception) -> None:
    from torchvision.models import inception as theirs  # noqa: PLC0415

    for name, block in (
        ("Mixed_5b", theirs.InceptionA(192, pool_features=32)),
        ("Mixed_6b", theirs.InceptionC(768, channels_7x7=128)),
        ("Mixed_7b", theirs.InceptionE(1280)),
    ):
        ours = getattr(inception.layers, name)
        block.load_state_dict(ours.state_dict())
        maps = normal(1, ours.branch1x1.conv.in_channels, 6, 6).abs()
        with torch.no_grad():
            found, plain = ours(maps), block.eval()(maps)
        inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
        assert torch.allclose(found[inside], plain[inside], atol=1e-5)
        num_pooled = ours.branch_pool.conv.out_channels
        assert torch.equal(found[:, :-num_pooled], plain[:, :-num_pooled])
        corner = maps[:, :, :2, :2].mean((2, 3), keepdim=True)
        with torch.no_grad():
            assert torch.allclose(found[:, -num_pooled:, :1, :1], ours.branch_pool(corner), atol=1e-5)


def test_the_last_block_pools_the_largest(inception: Inception) -> None:
    block, maps = inception.layers.Mixed_7c, normal(1, 2048, 4, 4)
    with torch.no_grad():
        largest = maps[:, :, 1:4, 1:4].amax((2, 3), keepdim=True)
        assert torch.allclose(block(maps)[:, -192:, 2:3, 2:3], block.branch_pool(largest), atol=1e-5)


def test_inception_gives_features_and_probabilities_that_know_nothing_of_the_last_bias(inception: Inception) -> None:
    seen = inception(pixels(2, 64))
    assert seen.features.shape == (2, 2048)
    assert (seen.features >= 0).all()
    assert torch.allclose(seen.probabilities.sum(1), torch.ones(2))
    assert torch.allclose(seen.probabilities, (seen.features @ inception.layers.fc.weight.T).softmax(1))
    before = inception.layers.fc.bias.clone()
    inception.layers.fc.bias.data[7] = 100
    assert torch.equal(inception(pixels(2, 64)).probabilities, seen.probabilities)
    inception.layers.fc.bias.data.copy_(before)


def test_images_are_resized_as_tensorflow_1_does_it() -> None:
    line = torch.tensor([0.0, 8.0, 16.0, 40.0])
    image = line.expand(1, 3, 4, 4)
    assert torch.allclose(resized(image, 8)[0, 0, 0], torch.tensor([0.0, 4, 8, 12, 16, 28, 40, 40]))
    assert torch.allclose(resized(image.mT, 8)[0, 0, :, 3], torch.tensor([0.0, 4, 8, 12, 16, 28, 40, 40]))
    assert torch.equal(resized(image, 2)[0, 0, 0], torch.tensor([0.0, 16.0]))  # nothing is averaged
    assert torch.equal(resized(image, 4), image)


@pytest.mark.parametrize("counted", [True, False])  # files of old torch versions hold no counts of batches
def test_inception_reads_its_file_and_comes_back(inception: Inception, tmp_path: Path, counted: bool) -> None:
    path = tmp_path / "inception.pth"
    tensors = inception.layers.state_dict()
    torch.save({name: part for name, part in tensors.items() if counted or "num_batches" not in name}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert fetch_inception(weights_at(path, digest[:8]), tmp_path) == "a file"
    judge = load_inception(tmp_path)
    assert judge is not None
    assert (judge.source, judge.sha256) == ("a file", digest)
    found = judge.network.layers.state_dict()
    assert all(torch.equal(found[name], part) for name, part in tensors.items())
    assert not any(parameter.requires_grad for parameter in judge.network.parameters())
    assert not any(module.training for module in judge.network.modules())


def test_another_networks_file_or_another_file_is_no_inception(tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, path)
    with pytest.raises(InputError, match=r"Inception weights: .* is another network's \(missing: Conv2d_1a"):
        fetch_inception(weights_at(path), tmp_path)
    with pytest.raises(
        InputError, match=r"has SHA-256 .*, expected 6726825d\.\.\.; download https://github.com/toshas"
    ):
        fetch_inception(weights_at(path, "6726825d"), tmp_path)


def test_an_untrained_judge_says_so_and_one_that_is_not_wanted_is_none(tmp_path: Path) -> None:
    given = WeightsConfig(source="random", location=None, sha256=None)
    fetch_inception(given, tmp_path)
    first = (tmp_path / "inception.safetensors").read_bytes()
    fetch_inception(given, tmp_path)
    assert (tmp_path / "inception.safetensors").read_bytes() == first
    judge = load_inception(tmp_path)
    assert judge is not None
    assert (judge.name, judge.source, judge.sha256) == ("inception", "random", None)
    fetch_inception(WeightsConfig(source="none", location=None, sha256=None), tmp_path)
    assert load_inception(tmp_path) is None
    fetch_classifier(classifier("resnet18", "none"), tmp_path)
    assert load_classifier(tmp_path) is None


# ---- classifiers


def test_a_classifier_is_the_one_that_is_named_with_the_preprocessing_of_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_classifier(classifier("squeezenet1_0", "random"), tmp_path)
    judge = load_classifier(tmp_path)
    assert judge is not None
    assert (judge.name, judge.source) == ("squeezenet1_0", "random")
    assert load_checkpoint(tmp_path / "classifier.safetensors", kind="weights").config["weights"] == "IMAGENET1K_V1"
    assert judge.network(pixels(2, 64)).shape == (2, 1000)
    assert published_as("resnet50", "x/resnet50-11ad3fa6.pth").name == "IMAGENET1K_V2"
    assert published_as("resnet50", None).name == "IMAGENET1K_V1"
    assert caplog.messages == []
    assert published_as("resnet50", "x/mine.pth").name == "IMAGENET1K_V1"
    assert "mine.pth is called like none of resnet50-0676ba61.pth (IMAGENET1K_V1), resnet50-11ad3fa6.pth" in caplog.text
    for weights, side in (("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)):
        assert ImagenetClassifier("resnet50", weights).preprocessing == (
            f"the shorter side to {side} px (bilinear, antialiased), the middle 224 px, ImageNet's mean and deviation"
        )


def test_a_classifiers_file_without_counts_of_batches_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    tensors = ImagenetClassifier("resnet18", "IMAGENET1K_V1").network.state_dict()
    torch.save({name: part for name, part in tensors.items() if "num_batches" not in name}, path)
    assert fetch_classifier(classifier("resnet18", "path", path), tmp_path) == "a file"
    judge = load_classifier(tmp_path)
    assert judge is not None
    found = judge.network.network.state_dict()
    assert all(torch.equal(found[name], part) for name, part in tensors.items())
    with pytest.raises(InputError, match=r"resnet34 weights: .* is another network's \(missing: layer1.2.conv1.weight"):
        fetch_classifier(classifier("resnet34", "path", path), tmp_path)


@pytest.mark.parametrize("name", ["resnet5000", "inception_v3", "fcn_resnet50"])
def test_an_unknown_classifier_or_one_of_other_inputs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"found the name '{name}', expected a classifier of torchvision.models"):
        fetch_classifier(classifier(name, "random"), tmp_path)


@pytest.mark.skipif(not (SQUEEZENET.is_file() and PHOTOGRAPHS.is_dir()), reason="needs SqueezeNet in ../shared")
def test_a_real_classifier_names_what_photographs_show(tmp_path: Path) -> None:
    fetch_classifier(classifier("squeezenet1_0", "path", SQUEEZENET), tmp_path)
    judge = load_classifier(tmp_path)
    assert judge is not None
    labels = torch.arange(0, 1000, 8)
    files = photograph_files(PHOTOGRAPHS)
    assert len(files) == 1000  # one per class, in their order
    images = torch.stack([read_photograph(files[label], 256) for label in labels.tolist()])
    logits = torch.cat([judge.network(some) for some in images.split(25)])
    other = (labels + 1) % 1000
    shares = top_shares(logits, Factors(labels, other, (labels + 500) % 1000))
    assert shares["shape"].top1 > 0.5  # 0.62 on all of them, by its README
    assert shares["shape"].top5 > 0.7
    assert shares["background"].top1 < 0.05


# ---- photographs


def test_photographs_are_the_largest_square_from_the_middle_in_rgb(tmp_path: Path) -> None:
    image = Image.new("L", (40, 20), 0)
    image.paste(200, (10, 0, 30, 20))
    image.save(tmp_path / "grey.png")
    found = read_photograph(tmp_path / "grey.png", 8)
    assert found.shape == (3, 8, 8)
    assert found.dtype == torch.uint8
    assert (found == 200).all()


def test_photographs_are_found_in_folders_in_order_and_known_by_their_contents(tmp_path: Path) -> None:
    for name, value in (("b/x.JPEG", 0), ("a/y.png", 1), ("a/z.txt", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (value, 0, 0)).save(tmp_path / name, format="PNG")
    files = photograph_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["a/y.png", "b/x.JPEG"]
    before = files_digest(files)
    files[0].rename(tmp_path / "a/renamed.png")
    assert files_digest(photograph_files(tmp_path)) == before
    Image.new("RGB", (4, 4), (9, 0, 0)).save(tmp_path / "a/renamed.png")
    assert files_digest(photograph_files(tmp_path)) != before


def test_no_photographs_or_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no picture, expected two or more"):
        photograph_files(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"bad.png: found no JPEG or PNG or WEBP image, or a damaged one"):
        read_photograph(tmp_path / "bad.png", 8)
