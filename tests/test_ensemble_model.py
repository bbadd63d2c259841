"""Classifiers with one head or three: what heads share, what they start from, and what cannot be given heads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (before torchvision)
from cgn.checkpoints import save_checkpoint
from cgn.config import ClassifierWeights
from cgn.errors import InputError
from cgn.models.backbones import Backbone, Preprocessing, fetch_backbone, load_backbone, new_backbone, preprocessing
from cgn.models.chains import chain_of
from cgn.models.ensemble import (
    CHECKPOINT_KIND,
    ONE_HEAD,
    THREE_HEADS,
    HeadedClassifier,
    form_of,
    headed,
    load_classifier_checkpoint,
)
from cgn.rng import stream

ROOT = Path(__file__).parents[1]
SQUEEZENET = ROOT.parent / "shared/weights/squeezenet1_0/squeezenet1_0_deepcompression_torchvision_keys.pth"


def backbone(name: str) -> Backbone:
    return Backbone(new_backbone(name), name, "IMAGENET1K_V1", "random", "", preprocessing(name, "IMAGENET1K_V1"))


def pixels(size_px: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, size_px, size_px), generator=stream(0), dtype=torch.uint8)


def build(name: str, *, size_px: int = 64, seed: int = 0, **changes: Any) -> HeadedClassifier:
    given = {"heads": THREE_HEADS, "classes": "imagenet", "cut": 1, "linear": False, **changes}
    chosen = backbone(name)
    return headed(
        chosen, form_of(chosen, image_px=size_px, **given), seed=seed, config={"method": {"rule": "ensemble"}}
    )


def weights_at(name: str, source: str, path: Path | None = None) -> ClassifierWeights:
    return ClassifierWeights.model_validate(
        {"source": source, "name": name, "location": None if path is None else str(path), "sha256": None}
    )


FAMILIES = {  # the first of every head's steps, by `cut`
    "resnet18": ("fc", "layer4", "layer3"),
    "squeezenet1_1": ("classifier_1", "features_12", "features_11"),
    "mobilenet_v2": ("classifier_1", "features_18", "features_17"),
    "mobilenet_v3_small": ("classifier_3", "classifier_0", "features_12"),
    "efficientnet_b0": ("classifier_1", "features_8", "features_7"),
    "shufflenet_v2_x0_5": ("fc", "conv5", "stage4"),
    "mnasnet0_5": ("classifier_1", "layers_14", "layers_13"),
    "regnet_y_400mf": ("fc", "trunk_output_block4", "trunk_output_block3"),
    "convnext_tiny": ("classifier_2", "features_7", "features_6"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_is_a_copy_of_the_backbones_end_and_gives_its_logits(name: str) -> None:
    published = new_backbone(name).eval()
    images = pixels(64)
    for cut in (1, 2, 3):
        network = build(name, cut=cut).eval()
        with torch.no_grad():
            expected = published((images.float() - network.mean) / network.std)
            found = network(images)
        assert tuple(found) == THREE_HEADS
        assert all(torch.equal(logits, expected) for logits in found.values())
        assert next(iter(dict(network.ends["shape"].named_children()))) == FAMILIES[name][cut - 1]
        maps = []
        handle = network.grad_cam_layer_of("texture").register_forward_hook(lambda _, __, out: maps.append(out))  # noqa: B023
        network(images)
        handle.remove()
        assert maps[0].ndim == 4


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "swin_t", "vit_b_32", "maxvit_t"])
@pytest.mark.full
def test_so_it_is_with_large_ones(name: str) -> None:
    published, images = new_backbone(name).eval(), pixels(224)
    network = build(name, size_px=224, cut=2).eval()
    with torch.no_grad():
        expected = published((images.float() - network.mean) / network.std)
        assert all(torch.equal(logits, expected) for logits in network(images).values())


def test_a_vision_transformer_has_no_maps_and_takes_one_size() -> None:
    with pytest.raises(InputError, match=r"image_px: found 64, expected 224, which backbone vit_b_32 was made for"):
        build("vit_b_32")
    with pytest.raises(InputError, match="found no maps, which Grad-CAM explains; use occlusion"):
        _ = build("vit_b_32", size_px=224, heads=ONE_HEAD).grad_cam_layer


def test_new_heads_are_drawn_each_for_itself_and_the_rest_is_the_backbones() -> None:
    chosen = backbone("resnet18")
    form = form_of(chosen, image_px=64, heads=THREE_HEADS, classes="imagenet", cut=2, linear=False)
    network = headed(chosen, form, seed=0, config={}, new_heads=True)
    last = [network.last_layer_of(head).weight for head in THREE_HEADS]
    assert all(one.shape == chosen.network.fc.weight.shape for one in last)
    assert not any(torch.equal(one, chosen.network.fc.weight) for one in last)
    assert not torch.equal(last[0], last[1])
    layer4 = chosen.network.layer4.state_dict()
    assert all(torch.equal(tensor, layer4[name]) for name, tensor in network.ends["shape"].layer4.state_dict().items())
    again = headed(chosen, form, seed=0, config={}, new_heads=True)
    assert torch.equal(again.last_layer_of("shape").weight, last[0])


@pytest.mark.parametrize("cut", [1, 2])
def test_a_heads_gradient_reaches_its_own_copy_and_what_all_share(cut: int) -> None:
    network = build("resnet18", cut=cut)
    network(pixels(64))["texture"].sum().backward()
    assert all(part.grad is not None for part in network.trunk.parameters())
    for head, end in network.ends.items():
        reached = [part.grad is not None for part in end.parameters()]
        assert all(reached) if head == "texture" else not any(reached)


def test_last_layers_are_computed_in_float32_under_autocast() -> None:
    network = build("resnet18").eval()
    images = pixels(64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, shared = network(images), network.shared(images)
    assert shared.dtype == torch.bfloat16
    for head, end in network.ends.items():
        torch.testing.assert_close(found[head], end(shared.float()), rtol=0, atol=0)


def test_shared_steps_are_computed_once_for_three_heads() -> None:
    network, calls = build("resnet18"), []
    for layer in network.trunk.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *_: calls.append(1))
    network(pixels(64))
    assert len(calls) == sum(isinstance(layer, nn.Conv2d) for layer in network.trunk.modules()) == 20


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_heads_of_other_classes_are_new_and_each_its_own(name: str) -> None:
    kept, one, again, other = (
        build(name, classes=classes, seed=seed)
        for classes, seed in (("imagenet", 0), ("in9", 0), ("in9", 0), ("in9", 1))
    )
    assert one(pixels(64))["shape"].shape == (2, 9)
    weights = [network.last_layer_of("shape").weight for network in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], one.last_layer_of("texture").weight)
    assert torch.equal(kept.last_layer_of("shape").weight, kept.last_layer_of("texture").weight)
    for ours, theirs in zip(one.trunk.parameters(), kept.trunk.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_linear_head_replaces_a_convolution_and_its_relu() -> None:
    network = build("squeezenet1_1", classes="in9", linear=True, heads=ONE_HEAD).eval()
    assert isinstance(network.last_layer_of("only"), nn.Linear)
    layer = network.last_layer_of("only")
    features = network.shared(pixels(64))
    assert torch.allclose(network(pixels(64))["only"], features @ layer.weight.T + layer.bias, atol=1e-6)
    assert (network(pixels(64))["only"] < 0).any()


def test_a_checkpoint_comes_back_with_all_that_it_says(tmp_path: Path) -> None:
    network = build("squeezenet1_1", classes="in9", cut=2, linear=True).eval()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, network.state_dict(), kind=CHECKPOINT_KIND, config=network.config, trained_on="x")
    found = load_classifier_checkpoint(path)
    assert not found.training
    assert (found.heads, found.classes, found.image_px, found.resize_px) == (THREE_HEADS, "in9", 64, 73)
    assert found.config["backbone"] == {
        "name": "squeezenet1_1",
        "source": "random",
        "sha256": "",
        "weights": "IMAGENET1K_V1",
    }
    with torch.no_grad():
        for head, logits in network(pixels(64)).items():
            assert torch.equal(found(pixels(64))[head], logits)
    with torch.no_grad():
        assert torch.equal(found(pixels(64).float())["shape"], found(pixels(64))["shape"])


def test_building_and_loading_leave_global_randomness_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    network = build("squeezenet1_1", classes="in9")
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, network.state_dict(), kind=CHECKPOINT_KIND, config=network.config, trained_on="x")
    load_classifier_checkpoint(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_row_of_layers_of_ones_own_is_a_backbone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(30), nn.Flatten(), nn.Linear(4, 10))
    given = Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)
    own = Backbone(network, "own", "", "random", "", given)
    found = headed(
        own, form_of(own, heads=THREE_HEADS, classes="digits", cut=1, linear=False, image_px=32), seed=0, config={}
    )
    assert found(pixels(32))["background"].shape == (2, 10)
    assert found.grad_cam_layer is found.trunk[1]


# ---- what cannot be cut


def test_a_backbone_without_the_expected_head_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"backbone densenet121: found a DenseNet, .*expected one of ResNet, .*1 x 1 conv"
    ):
        chain_of(new_backbone("densenet121"), "densenet121")
    for layers in ([nn.Conv2d(3, 10, 3), nn.Flatten()], [nn.Flatten()]):
        with pytest.raises(
            InputError, match=r"backbone own: found .* at its end, expected a linear layer or a 1 x 1 conv"
        ):
            chain_of(nn.Sequential(*layers), "own")
    resnet = new_backbone("resnet18")
    resnet.fc = nn.Identity()  # as those who want features do it
    with pytest.raises(
        InputError, match=r"backbone resnet18: found layer4, a Sequential, at its end, expected a linear layer"
    ):
        chain_of(resnet, "resnet18")


def test_a_cut_deeper_than_the_backbone_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    given = Backbone(network, "own", "", "random", "", Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(InputError, match=r"cut: found 1, expected less than the 1 parts of backbone own"):
        headed(
            given, form_of(given, heads=ONE_HEAD, classes="digits", cut=1, linear=False, image_px=32), seed=0, config={}
        )


def test_images_that_a_backbone_cannot_take_are_refused_before_training() -> None:
    with pytest.raises(InputError, match=r"image_px: found 16, expected a size that backbone squeezenet1_1 takes"):
        build("squeezenet1_1", size_px=16)


# ---- fetching


def test_a_backbone_is_fetched_with_its_source(tmp_path: Path) -> None:
    assert fetch_backbone(weights_at("squeezenet1_1", "random"), tmp_path) == "random"
    first = (tmp_path / "backbone.safetensors").read_bytes()
    fetch_backbone(weights_at("squeezenet1_1", "random"), tmp_path)
    assert (tmp_path / "backbone.safetensors").read_bytes() == first
    found = load_backbone(tmp_path)
    assert (found.name, found.source, found.sha256, found.weights) == ("squeezenet1_1", "random", "", "IMAGENET1K_V1")
    assert found.preprocessing == Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_file_whose_head_is_for_other_classes_is_refused(tmp_path: Path) -> None:
    tensors = new_backbone("resnet18").state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save({**tensors, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}, path)
    with pytest.raises(InputError, match=r"resnet18 weights: .*fc.weight is \(10, 512\) and not \(1000, 512\)"):
        fetch_backbone(weights_at("resnet18", "path", path), tmp_path / "out")


def test_a_name_that_is_no_classifier_or_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    for name in ("resnet5000", "densenet121", "inception_v3", "fcn_resnet50"):
        with pytest.raises(InputError, match=rf"weights.backbone: found the name '{name}', expected a classifier"):
            fetch_backbone(weights_at(name, "random"), tmp_path)


@pytest.mark.skipif(not SQUEEZENET.is_file(), reason="needs SqueezeNet in ../shared")
def test_published_weights_are_read(tmp_path: Path) -> None:
    assert fetch_backbone(weights_at("squeezenet1_0", "path", SQUEEZENET), tmp_path) == "a file"
    found = load_backbone(tmp_path)
    assert len(found.sha256) == 64
    assert torch.equal(
        found.network.state_dict()["classifier.1.weight"],
        torch.load(SQUEEZENET, weights_only=True)["classifier.1.weight"].float(),
    )
