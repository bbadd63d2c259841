"""Fetching the networks that the ImageNet road starts from and is judged by."""

from pathlib import Path

import pytest
import torch
from imagenet_road import Road, fetch, params_with
from isolation import ROOT

from cgn.checkpoints import load_checkpoint
from cgn.config import load_params
from cgn.errors import InputError
from cgn.models.pretrained import load_network
from cgn.models.u2net import SMALL, U2Net
from cgn.models.vgg_bn import VggBnFeatures

U2NETP = ROOT.parent / "shared/weights/u2netp/u2netp_bnfolded_fp16src.pth"


def test_weights_are_checkpoints_that_say_where_they_come_from(road: Road) -> None:
    for kind in ("biggan", "saliency", "vgg"):
        checkpoint = load_checkpoint(road.weights / f"{kind}.safetensors", kind="weights")
        assert checkpoint.config["source"] == "random"
        assert checkpoint.config["network"] == kind


def test_vgg_is_the_one_that_the_scale_names(tmp_path: Path) -> None:
    params = params_with(tmp_path, networks__vgg="vgg16_bn")
    fetch(params, tmp_path / "weights")
    networks = load_params(params).imagenet_scales["tiny"].networks
    assert isinstance(load_network("vgg", tmp_path / "weights", networks), VggBnFeatures)
    with pytest.raises(InputError, match=r"vgg.safetensors is a checkpoint of another architecture"):
        load_network("vgg", tmp_path / "weights", networks.model_copy(update={"vgg": "vgg16"}))


@pytest.mark.skipif(not U2NETP.is_file(), reason="needs U2-NetP in ../shared")
def test_real_weights_are_taken_by_their_path(tmp_path: Path) -> None:
    given = {"source": "path", "location": str(U2NETP), "sha256": None}
    params = params_with(tmp_path, weights__saliency=given)
    fetch(params, tmp_path / "weights")
    checkpoint = load_checkpoint(tmp_path / "weights/saliency.safetensors", kind="weights")
    assert checkpoint.config["source"] == "a file"
    assert len(checkpoint.config["sha256"]) == 64
    network = load_network("saliency", tmp_path / "weights", load_params(params).imagenet_scales["tiny"].networks)
    found = torch.load(U2NETP, weights_only=True)
    assert all(torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items())


def test_another_networks_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    torch.save(U2Net(SMALL).state_dict(), tmp_path / "u2netp.pth")
    given = {"source": "path", "location": str(tmp_path / "u2netp.pth"), "sha256": None}
    params = params_with(tmp_path, weights__saliency=given, networks__saliency="u2net")
    with pytest.raises(InputError, match=r"U2-Net weights: .*u2netp.pth is another network's \(other shapes"):
        fetch(params, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_download_that_fails_is_an_io_error_that_names_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.error import URLError  # noqa: PLC0415

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    given = {"source": "download", "location": "https://example.org/u2netp.pth", "sha256": "0" * 8}
    params = params_with(tmp_path, weights__saliency=given)
    with pytest.raises(OSError, match=r"https://example.org/u2netp.pth cannot be downloaded \(no network\)"):
        fetch(params, tmp_path / "weights")
