"""Facts about checkpoints and resume states: whole or refused, and never executed."""

import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cgn.checkpoints import load_checkpoint, load_into, load_state, save_checkpoint, save_state

CONFIG = {"recipe": "fast", "sizes": [1, 2], "nested": {"lr": 0.5}}


def weights() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {"b": torch.randn(3, 4, generator=rng).t(), "a": torch.arange(5), "c": torch.tensor(True)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", weights(), kind="generator", config=CONFIG, trained_on="ab12")
    return tmp_path / "model.safetensors"


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_checkpoint_reads_back_with_its_header(path: Path) -> None:
    checkpoint = load_checkpoint(path, kind="generator")
    assert checkpoint.config == CONFIG
    assert checkpoint.trained_on == "ab12"
    assert checkpoint.tensors.keys() == weights().keys()
    for name, tensor in weights().items():
        assert torch.equal(checkpoint.tensors[name], tensor)
        assert checkpoint.tensors[name].dtype == tensor.dtype


def test_equal_arguments_give_equal_bytes_whatever_their_order(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "model.safetensors"
    backwards = dict(reversed(CONFIG.items()))
    save_checkpoint(other, dict(reversed(weights().items())), kind="generator", config=backwards, trained_on="ab12")
    assert other.read_bytes() == path.read_bytes()
    assert [file.name for file in other.parent.iterdir()] == ["model.safetensors"]


def test_a_checkpoint_of_another_kind_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="found a generator checkpoint of format 2, expected classifier"):
        load_checkpoint(path, kind="classifier")


def test_a_torn_checkpoint_is_refused(path: Path) -> None:
    content = path.read_bytes()
    cuts = [0, 1, 7, 8, 9, len(content) // 2, len(content) - 1, *random.Random(0).sample(range(len(content)), 3)]
    for cut in cuts:
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="is not a whole safetensors file"):
            load_checkpoint(path, kind="generator")


def test_a_flipped_bit_in_a_checkpoint_is_refused_or_changes_nothing(path: Path) -> None:
    whole = load_checkpoint(path, kind="generator")
    content = path.read_bytes()
    damaged_weights = 0
    for offset in [*range(len(content) - 40, len(content)), *random.Random(3).sample(range(len(content)), 300)]:
        flipped = bytearray(content)
        flipped[offset] ^= 1 << offset % 8
        path.write_bytes(flipped)
        try:
            loaded = load_checkpoint(path, kind="generator")
        except ValueError as error:
            damaged_weights += "is damaged: found contents of SHA-256" in str(error)
        else:
            assert repr(loaded) == repr(whole)
    assert damaged_weights > 40


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path: Path) -> None:
    header = '{"format": 1, "kind": "generator", "config": {}, "trained_on": ""}'
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"checkpoint": header})
    with pytest.raises(ValueError, match="of format 1, expected generator of format 2; delete it and run `dvc repro`"):
        load_checkpoint(tmp_path / "x.safetensors", kind="generator")


def test_a_pickle_in_a_checkpoints_place_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "model.safetensors", tmp_path / "executed"
    for write in (
        lambda: path.write_bytes(pickle.dumps(Payload(proof), protocol=2)),
        lambda: torch.save(Payload(proof), path),
    ):
        write()
        with pytest.raises(ValueError, match="is not a whole safetensors file"):
            load_checkpoint(path, kind="generator")
        assert not proof.exists()


@pytest.mark.parametrize("metadata", [None, {}, {"checkpoint": "[]"}, {"checkpoint": "{"}, {"checkpoint": '"x"'},
                                      {"checkpoint": '{"format": 1, "kind": "generator"}'}])  # fmt: skip
def test_a_safetensors_file_without_our_header_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match="no checkpoint header"):
        load_checkpoint(tmp_path / "x.safetensors", kind="generator")


def test_a_missing_checkpoint_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing; run `dvc repro`"):
        load_checkpoint(tmp_path / "none.safetensors", kind="generator")


def test_a_config_that_is_no_json_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path / "x", weights(), kind="generator", config={"lr": float("nan")}, trained_on="")
    assert list(tmp_path.iterdir()) == []


def test_weights_go_into_an_equal_module() -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    load_into(target, source.state_dict(), Path("x"))
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, r"weight is \(2, 4\), expected \(2, 3\)"),
        ({"weight": torch.zeros(2, 3)}, r"bias is missing, expected \(2,\)"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "z": torch.zeros(1)}, "z is .* no such weight"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_name(tensors: dict, message: str) -> None:
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(ValueError, match=message):
        load_into(module, tensors, Path("x"))
    assert torch.equal(module.weight, before)


# ---- resume states


def state() -> dict:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "training": {"step": 3, "network": network.state_dict(), "optimizer": optimizer.state_dict()},
        "rng": torch.Generator().manual_seed(1).get_state(),
        "records": [{"step": 3, "loss": 0.1}],
    }


def test_a_resume_state_reads_back(tmp_path: Path) -> None:
    saved = state()
    save_state(tmp_path / "run" / "state.pt", saved)
    loaded = load_state(tmp_path / "run" / "state.pt")
    assert loaded is not None
    assert torch.equal(loaded["training"]["network"]["weight"], saved["training"]["network"]["weight"])
    assert torch.equal(
        loaded["training"]["optimizer"]["state"][0]["exp_avg"], saved["training"]["optimizer"]["state"][0]["exp_avg"]
    )
    assert torch.equal(loaded["rng"], saved["rng"])
    assert loaded["records"] == saved["records"]
    assert loaded["training"]["step"] == 3


def test_there_is_no_state_before_the_first(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none" / "state.pt") is None


def test_a_torn_resume_state_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, state())
    content = path.read_bytes()
    for cut in [0, 1, 2, 4, 30, len(content) - 1, *random.Random(0).sample(range(len(content)), 20)]:
        path.write_bytes(content[:cut])
        assert load_state(path) is None
    for other in (b"text\n", b"\x80\x02", bytes(100), content[1:], b"PK\x03\x04" + bytes(60)):
        path.write_bytes(other)
        assert load_state(path) is None


def test_a_flipped_bit_in_a_resume_state_never_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    saved = state()
    save_state(path, saved)
    content = path.read_bytes()
    for offset in random.Random(2).sample(range(len(content)), 200):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        if (loaded := load_state(path)) is not None:  # a bit of padding
            assert repr(loaded) == repr(saved)


def test_a_foreign_class_in_a_resume_state_is_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "state.pt", tmp_path / "executed"
    for write in (
        lambda: path.write_bytes(pickle.dumps(Payload(proof), protocol=2)),
        lambda: torch.save(Payload(proof), path),
    ):
        write()
        assert load_state(path) is None
        assert not proof.exists()


def test_something_else_than_a_state_counts_as_none(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "state.pt")
    assert load_state(tmp_path / "state.pt") is None
