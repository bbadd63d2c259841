"""Facts about named random streams."""

import pytest
import torch

from cgn.rng import stream


def test_a_stream_gives_the_same_values_on_every_machine_and_in_every_version() -> None:
    assert stream(0).initial_seed() == 4_066_689_987_807_800_415
    assert stream(7, "counterfactuals", 3).initial_seed() == 3_098_719_255_049_056_960
    drawn = torch.randint(0, 1000, (5,), generator=stream(7, "counterfactuals", 3))
    assert drawn.tolist() == [747, 238, 126, 111, 445]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0, "a"), (1, "a")),
        ((0, "a"), (0, "b")),
        ((0, "a", "b"), (0, "b", "a")),
        ((0, "ab", "c"), (0, "a", "bc")),
        ((0, "a", 1), (0, "a", "1")),
        ((1, 2), (12,)),
        ((0,), (0, "")),
    ],
)
def test_different_addresses_give_independent_streams(left: tuple, right: tuple) -> None:
    draws = torch.stack([torch.randn(10_000, generator=stream(*address)) for address in (left, right)])
    assert abs(torch.corrcoef(draws)[0, 1].item()) < 0.05
    assert not torch.equal(*draws)


def test_a_draw_in_one_stream_shifts_no_other() -> None:
    expected = torch.rand(4, generator=stream(0, "steps"))
    before = torch.get_rng_state()
    other = stream(0, "sheets")
    rng = stream(0, "steps")
    torch.rand(100, generator=other)
    assert torch.equal(torch.rand(4, generator=rng), expected)
    assert torch.equal(torch.get_rng_state(), before)
