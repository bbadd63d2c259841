"""Every stage is run again over what a kill half-way leaves: nothing half-made, and the same bytes in the end.

A copy of the folder made just before a rename is what SIGKILL at that moment leaves, since a killed process neither cleans up
nor writes any more. So one run shows what every kill leaves. That workers end with a process that is killed is shown in
test_stage_faults.py.
"""

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from tiny_pipeline import Project, hashes, write_params

from cgn.files import sha256
from stages import code
from stages.listing import programs

CELL = "cgn-original_cf"

# What each stage is called, how it is run and what it writes.
STAGES: dict[str, tuple[Callable[[Project], object], list[str]]] = {
    "code": (
        lambda project: code.main(["--out", str(project.root / "code")]),
        [f"code/{name}" for name in programs()],
    ),
    "check": (Project.check, ["params-checked"]),
    "fetch": (Project.fetch, ["raw"]),
    "build_dataset": (Project.build_dataset, ["real", "environments"]),
    "train_generator": (Project.train_generator, ["checkpoints/cgn", "records/cgn"]),
    "generate": (Project.generate, ["generated"]),
    "train_classifier": (lambda project: project.train_classifier(CELL), [f"checkpoints/{CELL}", f"records/{CELL}"]),
    "predict": (lambda project: project.predict(CELL), [f"predictions/{CELL}-0.parquet"]),
    "score": (lambda project: project.score(CELL), [f"metrics/double_colored/{CELL}-0.json"]),
    "train_judges": (Project.train_judges, ["judges"]),
    "measure": (Project.measure, ["measured/double_colored/cgn/0", "metrics/double_colored/quality/cgn-0.json"]),
    "explain": (Project.explain, ["explained/double_colored", "metrics/double_colored/explained.json"]),
    "ablate": (
        Project.ablate,
        ["measured/double_colored/ablations/cgn-no_binary/0", "metrics/double_colored/ablation/cgn-no_binary-0.json"],
    ),
    "sweep": (lambda project: project.sweep(images=60), ["sweep/60-1-0.json"]),
    "illustrate": (Project.illustrate, ["sheets/double_colored"]),
    "report": (Project.report, ["report"]),
    "fetch_weights": (Project.fetch_weights, ["weights"]),
    "fetch_judges": (Project.fetch_judges, ["judges-imagenet"]),
    "train_imagenet": (
        Project.train_imagenet,
        ["checkpoints/imagenet", "records/imagenet-tiny/authors_code-unchanged/0"],
    ),
    "generate_imagenet": (Project.generate_imagenet, ["generated-imagenet"]),
    "illustrate_imagenet": (Project.illustrate_imagenet, ["sheets/imagenet-tiny/authors_code-unchanged/0"]),
    "measure_imagenet": (Project.measure_imagenet, ["metrics/imagenet-tiny/authors_code-unchanged-0.json"]),
    "report_imagenet": (Project.report_imagenet, ["report-imagenet"]),
    "fetch_images": (Project.fetch_images, ["images"]),
    "fetch_backbone": (Project.fetch_backbone, ["backbone"]),
    "build_in9": (Project.build_in9, ["in9"]),
    "train_imagenet_classifier": (
        Project.train_imagenet_classifier,
        ["checkpoints/imagenet-tiny-classifiers/published/0", "records/imagenet-tiny-classifiers/published/0"],
    ),
    "predict_imagenet": (Project.predict_imagenet, ["predictions/imagenet-tiny-classifiers/published/0"]),
    "score_imagenet": (Project.score_imagenet, ["metrics/imagenet-tiny-classifiers/published-0.json"]),
    "explain_imagenet": (Project.explain_imagenet, ["explained/imagenet-tiny"]),
    "report_imagenet_classifiers": (Project.report_imagenet_classifiers, ["report-imagenet-classifiers"]),
}


def contents(out: Path) -> dict[str, str]:
    return {out.name: sha256(out)} if out.is_file() else hashes(out)


def inputs(project: Project) -> dict[str, str]:
    """What lies in the project's folders; not its params.yaml, which every copy gets anew."""
    return {path: digest for path, digest in hashes(project.root).items() if "/" in path}


def kept_before_each_rename(
    project: Project, run: Callable[[Project], object], shared: Collection[str], kept: Path
) -> list[Path]:
    """Run a stage, and copy the project before every rename that gives a final name. One inside a half-made folder is left
    out: what lies there before it, and more, is in the copy before the folder's own rename. The files `shared`, which the
    stage may only read, are not copied: all copies and the project have them in common.
    """
    replace = Path.replace
    copies: list[Path] = []

    def share_or_copy(source: str, target: str) -> None:
        (os.link if str(Path(source).relative_to(project.root)) in shared else shutil.copyfile)(source, target)

    def keeping(path: Path, target: Path) -> Path:
        if not any(part.endswith(".partial") for part in target.parts):
            copies.append(kept / str(len(copies)))
            shutil.copytree(project.root, copies[-1], copy_function=share_or_copy)
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", keeping)
        run(project)
    return copies


def shorter(params: dict) -> None:
    tiny = params["imagenet_scales"]["tiny"]
    params["classifiers"] = []
    params["imagenet_classifiers"], params["imagenet_mixes"] = ["published"], []
    tiny["train"]["num_steps"] = 1
    tiny["image_quality"] |= {"num_images": 4, "score_at": [2]}
    tiny["evaluate"] |= {"num_train": 4, "challenge_backgrounds": 1}
    tiny["explain"] |= {"num_images": 2, "occlusion_px": 32, "lime_samples": 5}
    tiny["in9"]["max_per_class"] = 3


def test_every_stage_is_among_them() -> None:
    assert set(STAGES) == {"code", *programs()}


def test_a_stage_killed_before_any_of_its_renames_gives_the_same_bytes_when_run_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", write_params(tmp_path / "project", shorter))
    for name, (run, outs) in STAGES.items():
        before = inputs(project)
        copies = kept_before_each_rename(project, run, before.keys(), tmp_path / name)
        expected = {out: contents(project.root / out) for out in outs}
        assert all(expected.values()), name
        assert copies, f"{name} renamed nothing"
        for root in copies:
            for out in outs:
                assert contents(root / out) in ({}, expected[out]), f"{name}: half of {out} was left"
            run(Project(root, write_params(root, shorter)))
            assert {out: contents(root / out) for out in outs} == expected, f"{name}, killed as in {root}"
            assert list(root.rglob("*.partial")) == [], f"{name}, killed as in {root}"
            shutil.rmtree(root)
        assert before.items() <= inputs(project).items(), f"{name} changed what it may only read"
