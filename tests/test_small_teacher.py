"""That the ImageNet CGN's loop learns: what its small networks are made of, and, where asked for, the whole of it."""

from pathlib import Path

import pytest
import torch

from benchmarks import small_teacher
from cgn.config import load_params
from cgn.evaluation.imagenet_quality import LayerQuality
from cgn.models.mechanisms import WholeImage
from cgn.models.u2net import U2Net, for_inference
from cgn.rng import stream
from cgn.training import seeded

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


@pytest.fixture(scope="module")
def untrained() -> small_teacher.Networks:
    config = PARAMS.generator["gan"]
    teacher = seeded(0, lambda: WholeImage(latent=config.latent, width=config.width)).state_dict()  # type: ignore[union-attr]
    return small_teacher.Networks(teacher, for_inference(seeded(0, lambda: U2Net(small_teacher.SALIENCY))))


def test_drawn_objects_are_of_many_sizes_and_leave_a_background() -> None:
    masks = small_teacher.drawn_objects(200, stream(0))
    assert masks.shape == (200, 1, 32, 32)
    assert ((masks >= 0) & (masks <= 1)).all()
    shares = masks.mean((1, 2, 3))
    assert shares.min() > 0.01
    assert shares.max() < 0.7
    assert shares.max() > 4 * shares.min()


def test_an_object_and_what_is_behind_it_never_share_a_texture() -> None:
    canvases = (
        torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 3, 40, 40) * 100
    )  # plain, and told apart
    objects = small_teacher.salient_objects(50, stream(0), canvases)
    inside, outside = objects.masks > 0.999, objects.masks < 0.001
    for image, on, off in zip(objects.images, inside, outside, strict=True):
        if on.any():
            assert image[:, on[0]].unique().tolist() != image[:, off[0]].unique().tolist()


def test_every_mechanism_begins_as_the_teacher(untrained: small_teacher.Networks) -> None:
    training = small_teacher.new_training(PARAMS, untrained, 0, change="unchanged")
    found = small_teacher.quality(training)
    assert found.reconstruction_l1 < 1e-6
    assert found.mask_iou == 1


def test_mechanisms_keep_the_teachers_statistics_while_they_train(untrained: small_teacher.Networks) -> None:
    training = small_teacher.new_training(PARAMS, untrained, 0, change="unchanged", num_steps=1)
    before = {name: buffer.clone() for name, buffer in training.cgn.trained.named_buffers()}
    parameters = {name: part.clone() for name, part in training.cgn.trained.named_parameters()}
    list(training.records())
    assert before
    assert all(torch.equal(buffer, before[name]) for name, buffer in training.cgn.trained.named_buffers())
    moved = {name for name, part in training.cgn.trained.named_parameters() if not torch.equal(part, parameters[name])}
    assert {name.split(".")[0] for name in moved} == {"shape", "texture", "background"}


def quality(*, mask_mean: float, saliency: float = 0.1, error: float = 0.1) -> LayerQuality:
    return LayerQuality(mask_mean, 0.95, saliency, 0.5, error)


def test_figures_compare_runs_with_the_beginning_and_with_the_whole_loss() -> None:
    found = small_teacher.figures(
        {
            "start": quality(mask_mean=0.1, saliency=0.2),
            "unchanged": quality(mask_mean=0.2, saliency=0.02, error=0.1),
            "no_texture": quality(mask_mean=0.7),
            "no_background": quality(mask_mean=0.15),
            "no_reconstruction": quality(mask_mean=0.2, error=0.4),
        }
    )
    assert found == pytest.approx(
        {
            "background_saliency_fell_by": 0.9,
            "mask_binary_share": 0.95,
            "mask_mean": 0.2,
            "mask_mean_rises_without_texture": 0.5,
            "mask_mean_falls_without_background": 0.05,
            "error_times_without_reconstruction": 4.0,
        }
    )


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loop_learns_and_losses_leave_their_signatures(seed: int) -> None:
    found = small_teacher.figures(small_teacher.run_seed(PARAMS, seed))
    assert found["background_saliency_fell_by"] >= 0.8
    assert found["mask_binary_share"] >= 0.9
    assert 0.1 <= found["mask_mean"] <= 0.9
    assert found["mask_mean_rises_without_texture"] > 0.02
    assert found["mask_mean_falls_without_background"] > 0.02
    assert found["error_times_without_reconstruction"] >= 3
