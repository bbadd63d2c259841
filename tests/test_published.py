"""How files of published weights are read, and facts about VGG16 and U2-Net, which have them."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from cgn import torchvision_ops  # noqa: F401  (before torchvision)
from cgn.data.in9_masks import salience_mask, saliency_input
from cgn.data.in9_pictures import to_tensor
from cgn.errors import InputError
from cgn.losses.mask import binary_entropy
from cgn.losses.perceptual import style_distance
from cgn.models.published import Published, fill, read_published
from cgn.models.u2net import FULL, SMALL, U2Net, U2NetSize, for_inference, load_u2net
from cgn.models.vgg import VggFeatures, load_vgg_features, random_vgg_features
from cgn.models.vgg_bn import VggBnFeatures, load_vgg_bn_features, random_vgg_bn_features
from cgn.rng import stream
from cgn.training import seeded

ROOT = Path(__file__).parents[1]
U2NETP = ROOT.parent / "shared/weights/u2netp/u2netp_bnfolded_fp16src.pth"
IN9_MINI = ROOT.parent / "shared/data/in9_mini"
WHAT = Published("Test", "https://example.org/test.pth")


def noise(*shape: int, name: str = "noise") -> Tensor:
    return torch.randn(*shape, generator=stream(0, name))


def digits(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- files


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_tensors_read_back_from_either_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    tensors = {"a": noise(3), "b": noise(2, 2)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    found = read_published(path, WHAT, sha256_digits=digits(path)[:8])
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_weights_that_were_saved_on_a_gpu_are_read_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    torch.save({"a": torch.ones(3)}, path)
    monkeypatch.undo()
    assert torch.equal(read_published(path, WHAT, sha256_digits="")["a"], torch.ones(3))


def test_a_missing_or_another_weight_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match=r"Test weights: found no file at .*weights.pth.*download https://example"):
        read_published(path, WHAT, sha256_digits="397923af")
    torch.save({}, path)
    with pytest.raises(InputError, match=r"has SHA-256 [0-9a-f]{16}\.\.\., expected 397923af.*or give the digits"):
        read_published(path, WHAT, sha256_digits="397923af")


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_an_unreadable_weight_file_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    path, proof = tmp_path / name, tmp_path / "executed"
    whole = tmp_path / "whole.pth"
    torch.save({"a": torch.zeros(100)}, whole)
    for content in (b"", b"text\n", whole.read_bytes()[:-20], pickle.dumps(Payload(proof), protocol=2)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_published(path, WHAT, sha256_digits=digits(path))
        assert "\n" not in str(caught.value)
        assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "kind"), [([torch.zeros(1)], "list"), ({"a": torch.zeros(1), "epoch": 3}, "dict with a int")]
)
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path, content: object, kind: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=f"holds a {kind}, expected a state dict of tensors alone"):
        read_published(path, WHAT, sha256_digits=digits(path))


def test_weights_of_another_network_are_refused_with_the_first_five_differences_of_each_kind() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {"0.weight": torch.zeros(3, 2), "1.weight": torch.zeros(2, 2), "extra": torch.zeros(1)}
    with pytest.raises(InputError) as caught:
        fill(network, tensors, Path("weights.pth"), WHAT)
    assert (
        "missing: 0.bias, 1.bias, 2.weight, 2.bias, 3.weight and 1 more; unexpected: extra; "
        "other shapes: 0.weight is (3, 2) and not (2, 2)" in str(caught.value)
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    network = nn.Linear(2, 2)
    with pytest.raises(InputError, match="bias is not finite"):
        fill(network, {"weight": torch.zeros(2, 2), "bias": torch.tensor([0.0, torch.nan])}, Path("w.pth"), WHAT)


# ---- VGG16


@pytest.fixture(scope="module")
def vgg() -> VggFeatures:
    return random_vgg_features(0)


def test_vgg_gives_what_its_poolings_are_given(vgg: VggFeatures) -> None:
    maps = vgg(noise(2, 3, 32, 32))
    assert [tuple(part.shape) for part in maps] == [(2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 512, 4, 4)]
    assert all((part >= 0).all() for part in maps)
    assert all(torch.equal(left, right) for left, right in zip(vgg(noise(2, 3, 32, 32), 2), maps[:2], strict=True))


def test_vgg_is_torchvisions(vgg: VggFeatures) -> None:
    from torchvision.models import vgg as theirs  # noqa: PLC0415

    layers = theirs.make_layers(theirs.cfgs["D"]).eval()
    known = {name.removeprefix("features."): weight for name, weight in vgg.state_dict().items()}
    missing = layers.load_state_dict(known, strict=False)
    assert missing.unexpected_keys == []
    assert {int(name.split(".")[0]) for name in missing.missing_keys} == {24, 26, 28}
    maps, expected = noise(1, 3, 32, 32), []
    for layer in layers[:24]:
        if isinstance(layer, nn.MaxPool2d):
            expected.append(maps.clone())
        maps = layer(maps)
    found = vgg(noise(1, 3, 32, 32))
    assert all(torch.allclose(left, right, atol=1e-5) for left, right in zip(found, expected, strict=True))


def test_the_style_loss_trains_images_and_no_vgg_weight(vgg: VggFeatures) -> None:
    images = noise(1, 3, 32, 32).requires_grad_()
    targets = vgg(noise(1, 3, 32, 32, name="target"), 2)
    loss = torch.stack([style_distance(*pair) for pair in zip(vgg(images, 2), targets, strict=True)]).sum()
    loss.backward()
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in vgg.parameters())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vgg_weights_read_back_from_either_kind_of_file(vgg: VggFeatures, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vgg16{suffix}"
    tensors = {**vgg.state_dict(), "classifier.0.bias": torch.zeros(3)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    loaded = load_vgg_features(path, sha256_digits=digits(path)[:8]).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in vgg.state_dict().items())


def test_a_vgg_file_without_a_layer_or_with_another_is_refused(vgg: VggFeatures, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.pth"
    tensors = dict(vgg.state_dict())
    del tensors["features.5.bias"]
    tensors["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    torch.save(tensors, path)
    message = r"missing: features.5.bias; other shapes: features.0.weight is \(64, 3, 5, 5\) and not \(64, 3, 3, 3\)"
    with pytest.raises(InputError, match=message):
        load_vgg_features(path, sha256_digits=digits(path))


def test_trained_vgg_weights_tell_a_texture_from_another_place_of_it() -> None:
    found = sorted(ROOT.parent.glob("shared/weights/**/vgg16-*.pth"))
    if not found:
        pytest.skip("no VGG16 weights under ../shared/weights")
    features = load_vgg_features(found[0], sha256_digits=found[0].stem.split("-")[1])
    stripes = torch.sin(torch.arange(32.0) * 0.8).expand(1, 3, 32, 32)
    own = [
        style_distance(*pair).item()
        for pair in zip(features(stripes), features(stripes.roll(3, 3)), strict=True)
    ]  # fmt: skip
    other = [
        style_distance(*pair).item()
        for pair in zip(features(stripes), features(noise(1, 3, 32, 32)), strict=True)
    ]  # fmt: skip
    assert all(left < right for left, right in zip(own, other, strict=True))


# ---- U2-Net


@pytest.mark.parametrize(("size", "num_weights"), [(FULL, 44_009_869), (SMALL, 1_131_181)])
def test_u2nets_have_the_published_numbers_of_weights(size: U2NetSize, num_weights: int) -> None:
    with torch.device("meta"):
        network = U2Net(size)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_weights


@pytest.mark.parametrize("size_px", [(64, 64), (50, 71)])
def test_u2net_gives_one_number_in_0_to_1_per_pixel(size_px: tuple[int, int]) -> None:
    mask = for_inference(seeded(0, lambda: U2Net(SMALL)))(noise(2, 3, *size_px))
    assert mask.shape == (2, 1, *size_px)
    assert ((mask > 0) & (mask < 1)).all()


def test_folding_batch_normalisation_changes_no_mask() -> None:
    network = seeded(0, lambda: U2Net(SMALL))
    for number, (name, buffer) in enumerate(network.named_buffers()):
        if name.endswith("running_mean"):
            buffer.copy_(noise(*buffer.shape, name=str(number)) * 0.1)
        if name.endswith("running_var"):
            buffer.copy_(noise(*buffer.shape, name=str(number)).abs() + 0.5)
    images = noise(1, 3, 64, 64)
    expected = network.eval()(images)
    assert torch.allclose(for_inference(network)(images), expected, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("logit", [20.0, -20.0])
def test_a_saturated_mask_under_autocast_leaves_its_entropy_finite(logit: float) -> None:
    network = for_inference(seeded(0, lambda: U2Net(SMALL)))
    nn.init.zeros_(network.outconv.weight)
    nn.init.constant_(network.outconv.bias, logit)
    with torch.autocast("cpu", torch.bfloat16):
        mask = network(noise(1, 3, 32, 32))
    assert mask.dtype == torch.float32
    assert binary_entropy(mask.clamp(1e-4, 1 - 1e-4)).isfinite()


def test_a_frozen_u2net_passes_gradients_to_images_and_keeps_none() -> None:
    network = for_inference(seeded(0, lambda: U2Net(SMALL)))
    images = noise(1, 3, 32, 32).requires_grad_()
    network(images).mean().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_u2net_file_from_before_batches_were_counted_is_read(tmp_path: Path) -> None:
    expected = U2Net(SMALL)
    old = {name: part for name, part in expected.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "u2netp.pth")
    found = load_u2net(tmp_path / "u2netp.pth", SMALL, sha256_digits="")
    assert all(torch.equal(part, old[name]) for name, part in found.state_dict().items() if name in old)


def test_the_small_networks_weights_are_not_the_large_ones(tmp_path: Path) -> None:
    path = tmp_path / "u2netp.pth"
    torch.save(U2Net(SMALL).state_dict(), path)
    loaded = for_inference(load_u2net(path, SMALL, sha256_digits=digits(path)[:8]))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(InputError, match=r"U2-Net weights: .* is another network's \(other shapes: .* and \d+ more\)"):
        load_u2net(path, FULL, sha256_digits=digits(path)[:8])


@pytest.mark.skipif(
    not (U2NETP.is_file() and IN9_MINI.is_dir()), reason="needs U2-NetP and the small IN-9 in ../shared"
)
@pytest.mark.parametrize("every", [100, pytest.param(1, marks=pytest.mark.full)])
def test_real_weights_give_the_masks_that_came_with_the_small_in9(every: int) -> None:
    network = for_inference(load_u2net(U2NETP, SMALL, sha256_digits=digits(U2NETP)))
    differences = []
    for entry in json.loads((IN9_MINI / "index.json").read_text())[::every]:
        with Image.open(IN9_MINI / "original" / entry["file"]) as image:
            found = salience_mask(network(saliency_input(to_tensor(image.convert("RGB")))), 224)
        with Image.open(IN9_MINI / "mask" / entry["file"]) as came_with:
            expected = np.asarray(came_with.convert("L"), dtype=float)
        differences.append(np.abs(np.asarray(found, dtype=float) - expected).mean())
    assert len(differences) == -(-370 // every)
    assert max(differences) <= 2  # of 255


# ---- VGG16 with batch normalisation


@pytest.fixture(scope="module")
def vgg_bn() -> VggBnFeatures:
    """With statistics that a pass in training mode would change."""
    network = random_vgg_bn_features(0)
    for layer in network.features:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(noise(layer.num_features, name="mean"))
            layer.running_var.copy_(noise(layer.num_features, name="variance").abs() + 0.5)
    return network


def test_vgg_with_batch_normalisation_is_torchvisions_in_evaluation_mode(vgg_bn: VggBnFeatures) -> None:
    from torchvision.models import vgg as theirs  # noqa: PLC0415

    layers = theirs.make_layers(theirs.cfgs["D"], batch_norm=True)
    known = {name.removeprefix("features."): weight for name, weight in vgg_bn.state_dict().items()}
    missing = layers.load_state_dict(known, strict=False)
    assert missing.unexpected_keys == []
    assert {int(name.split(".")[0]) for name in missing.missing_keys} == {34, 35, 37, 38, 40, 41}
    maps, expected = noise(1, 3, 32, 32), []
    for layer in layers.eval()[:34]:
        if isinstance(layer, nn.MaxPool2d):
            expected.append(maps.clone())
        maps = layer(maps)
    found = vgg_bn(noise(1, 3, 32, 32))
    assert len(found) == len(expected) == 4
    assert all(torch.allclose(left, right, atol=1e-4) for left, right in zip(found, expected, strict=True))


def test_vgg_with_batch_normalisation_is_frozen_whatever_mode_it_is_put_into(vgg_bn: VggBnFeatures) -> None:
    before = {name: tensor.clone() for name, tensor in vgg_bn.state_dict().items()}
    images = noise(2, 3, 32, 32)
    evaluated, trained = vgg_bn.eval()(images), vgg_bn.train()(images.requires_grad_())
    assert all(torch.equal(left, right) for left, right in zip(evaluated, trained, strict=True))
    torch.stack([maps.mean() for maps in trained]).sum().backward()
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in vgg_bn.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in vgg_bn.state_dict().items())


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vgg_with_batch_normalisation_reads_back_from_files_old_and_new(
    vgg_bn: VggBnFeatures, tmp_path: Path, suffix: str, counted: bool
) -> None:
    path = tmp_path / f"vgg16_bn{suffix}"
    tensors = {**vgg_bn.state_dict(), "features.34.weight": torch.zeros(3), "classifier.0.bias": torch.zeros(3)}
    tensors = {name: part for name, part in tensors.items() if counted or not name.endswith("num_batches_tracked")}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    loaded = load_vgg_bn_features(path, sha256_digits=digits(path)[:8]).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in vgg_bn.state_dict().items())


def test_each_vgg_refuses_the_others_file(vgg: VggFeatures, vgg_bn: VggBnFeatures, tmp_path: Path) -> None:
    plain, normalised = tmp_path / "vgg16.pth", tmp_path / "vgg16_bn.pth"
    torch.save(vgg.state_dict(), plain)
    torch.save(vgg_bn.state_dict(), normalised)
    with pytest.raises(InputError, match=r"VGG16-BN weights: .*vgg16.pth is another network's .*vgg16_bn-6c64b313.pth"):
        load_vgg_bn_features(plain, sha256_digits=digits(plain))
    with pytest.raises(InputError, match=r"VGG16 weights: .*vgg16_bn.pth is another network's .*vgg16-397923af.pth"):
        load_vgg_features(normalised, sha256_digits=digits(normalised))
