"""What judges say of the ImageNet CGN's images: Inception Score, FID, and which classes counterfactuals show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cgn.composer import to_pixels
from cgn.config import ImageQualityBudget, Precision
from cgn.contracts import Factors, Pixels
from cgn.data.photographs import files_digest, photograph_files, read_photograph
from cgn.evaluation.image_quality import fid, inception_score, top_shares
from cgn.generators.imagenet_cgn import ImagenetCgn, PerMechanism, micro_batches
from cgn.models.inception import SIDE_PX, Inception, Seen
from cgn.models.judges import Judge
from cgn.rng import stream
from stages.devices import device

Metrics = dict[str, Any]


@torch.no_grad()
def image_quality(
    cgn: ImagenetCgn,
    teacher: Any,
    judge: Judge | None,
    config: ImageQualityBudget,
    *,
    size_px: int,
    precision: Precision,
    seed: int,
) -> Metrics:
    """Inception Score of composites and of the teacher's images, by how many images there are, and FID between them.

    Without a judge, and without photographs for FID against them, the numbers are None, and `null_because` says why. The truncation of
    the CGN is set to that of `config`.
    Raises: InputError where the photographs are none or too few.
    """
    if judge is None:
        return {
            "inception_score": None,
            "fid_to_teacher": None,
            "fid_to_real": None,
            "teacher_fid_to_real": None,
            "null_because": "weights.inception.source is none",
        }
    inception = judge.network.to(device())
    # First, so that a photograph that cannot be read costs no generation.
    photographs = [] if config.real_images is None else photograph_files(Path(config.real_images))
    real = [_seen(inception, some) for some in _read(photographs, size_px, config.micro_batch)]
    found, expected = _seen_in_both(cgn, teacher, inception, config, precision=precision, seed=seed)
    protocol = {
        "inception": judge.source,
        "inception_sha256": judge.sha256,
        "num_images": config.num_images,
        "num_splits": config.num_splits,
        "truncation": config.truncation,
        "classes": "one per image for all mechanisms, uniform over all thousand",
        "fid_to_teacher": "against the teacher's images of the same noise and classes, not against ImageNet's",
        "size_px": size_px,
        "resize": f"to {SIDE_PX} px, bilinear as TensorFlow 1 does it, without averaging",
    }
    scores = [
        {
            "num_images": num,
            "composites": inception_score(found.probabilities[:num], config.num_splits)._asdict(),
            "teacher": inception_score(expected.probabilities[:num], config.num_splits)._asdict(),
        }
        for num in dict.fromkeys([*config.score_at, config.num_images])
    ]
    return {
        "protocol": protocol,
        "inception_score": scores,
        "fid_to_teacher": fid(found.features, expected.features),
        **_fid_to_real(found, expected, real, photographs, size_px=size_px),
    }


@torch.no_grad()
def effectiveness(
    cgn: ImagenetCgn, judge: Judge | None, config: ImageQualityBudget, *, precision: Precision, seed: int
) -> Metrics:
    """Per factor, how often a classifier names the factor's class of counterfactuals that have three different ones.

    Without a judge the numbers are None, and `null_because` says why. The truncation of the CGN is set to that of `config`.
    """
    if judge is None:
        return {**dict.fromkeys(Factors._fields), "null_because": "weights.classifier.source is none"}
    classifier = judge.network.to(device())
    rng = stream(seed, "effectiveness")
    cgn.truncation = config.truncation
    labels = Factors(*_different(config.num_images, cgn.mechanism("shape").num_classes, rng))
    noise = cgn.draw_noise(config.num_images, rng, shared=True)
    seen = composites(cgn, noise, labels, micro_batch=config.micro_batch, precision=precision)
    logits = [classifier(pixels).cpu() for pixels in seen]
    shares = top_shares(torch.cat(logits), labels)
    protocol = {
        "classifier": judge.name,
        "classifier_weights": judge.source,
        "classifier_sha256": judge.sha256,
        "preprocessing": classifier.preprocessing,
        "num_images": config.num_images,
        "truncation": config.truncation,
        "classes": "three different ones per image, uniform over all thousand",
        "noise": "one per image for all mechanisms",
    }
    return {"protocol": protocol, **{factor: share._asdict() for factor, share in shares.items()}}


def composites(
    cgn: ImagenetCgn, noise: PerMechanism, labels: Factors, *, micro_batch: int, precision: Precision
) -> Iterator[Pixels]:
    """The CGN's images of noise and classes, so many at a time, on the device; for callers that take no gradient."""
    for some_noise, some_labels in micro_batches(noise, labels, micro_batch, device()):
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bfloat16"):
            composite = cgn(some_noise, some_labels).composite
        yield to_pixels(composite)


def _different(num: int, num_classes: int, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Per image three different classes, each uniform: three columns."""
    return torch.multinomial(torch.ones(num, num_classes), len(Factors._fields), generator=rng).unbind(1)


def _seen_in_both(
    cgn: ImagenetCgn, teacher: Any, inception: Inception, config: ImageQualityBudget, *, precision: Precision, seed: int
) -> tuple[Seen, Seen]:
    """What Inception sees in composites and in the teacher's images of the same noise and classes."""
    cgn.truncation = config.truncation
    noise, labels = cgn.draw_training_inputs(config.num_images, stream(seed, "image_quality"))
    found, expected = [], []
    for some_noise, some_labels in micro_batches(noise, labels, config.micro_batch, device()):
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bfloat16"):
            composite = cgn(some_noise, some_labels).composite
            target = teacher(some_noise.shape, teacher.embed(some_labels.shape), cgn.truncation)
        found.append(_seen(inception, to_pixels(composite)))
        expected.append(_seen(inception, to_pixels(target)))
    return _together(found), _together(expected)


def _fid_to_real(found: Seen, expected: Seen, seen: list[Seen], files: list[Path], *, size_px: int) -> Metrics:
    """FID of composites and of the teacher's images against photographs, and which those were."""
    if not files:
        return {"fid_to_real": None, "teacher_fid_to_real": None, "null_because": "real_images is null"}
    real = _together(seen)
    return {
        "fid_to_real": fid(found.features, real.features),
        "teacher_fid_to_real": fid(expected.features, real.features),
        "real_images": {
            "num_images": len(files),
            "sha256": files_digest(files),
            "resize": f"the largest square from the middle to {size_px} px, bicubic, antialiased",
        },
    }


def _seen(inception: Inception, pixels: Pixels) -> Seen:
    """What Inception sees, off the device."""
    return Seen(*(part.cpu() for part in inception(pixels.to(device()))))


def _together(parts: list[Seen]) -> Seen:
    return Seen(*(torch.cat(of_all) for of_all in zip(*parts, strict=True)))


def _read(files: list[Path], size_px: int, micro_batch: int) -> Iterator[Pixels]:
    for start in range(0, len(files), micro_batch):
        yield torch.stack([read_photograph(path, size_px) for path in files[start : start + micro_batch]])
