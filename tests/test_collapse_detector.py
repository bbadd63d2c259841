"""Facts about how the collapse detector's verdicts are counted."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import collapse_detector


def cell(test: float, iou: float, collapsed: int) -> dict:
    return {"accuracy": {"test": test}, "worst_mask_iou": iou, "collapsed": collapsed}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (cell(0.80, 0.6, 0), "right"),
        (cell(0.74, 0.6, 1), "right"),  # more than 15 points under the oracle
        (cell(0.74, 0.6, 0), "missed"),
        (cell(0.80, 0.2, 0), "missed"),  # a class without a shape, though the classifier does well
        (cell(0.80, 0.6, 1), "false alarm"),
    ],
)
def test_a_verdict_is_held_against_accuracy_and_overlap(found: dict, verdict: str) -> None:
    assert collapse_detector.judge(found, oracle=0.9) == verdict


def test_verdicts_are_counted_per_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "colored" / "ablation"
    folder.mkdir(parents=True)
    for seed, found in enumerate((cell(0.85, 0.6, 0), cell(0.5, 0.1, 0), cell(0.8, 0.5, 1))):
        (folder / f"cgn-unchanged-{seed}.json").write_text(json.dumps(found))
        (folder.parent / f"oracle-{seed}.json").write_text(json.dumps({"test": {"accuracy": 0.7}}))
    (folder.parent / "oracle_5x-0.json").write_text(json.dumps({"test": {"accuracy": 0.9}}))  # the better one
    (folder / "cgn-no_binary-0.json").write_text(json.dumps(cell(0.1, 0.1, 0)))  # no shipped recipe
    monkeypatch.setattr(sys, "argv", ["collapse_detector", "--metrics", str(tmp_path)])
    collapse_detector.main()
    wrong = {"cgn-unchanged-1": "missed", "cgn-unchanged-2": "false alarm"}
    assert json.loads(capsys.readouterr().out) == {
        "colored": {"right": 1, "missed": 1, "false alarm": 1, "wrong": wrong}
    }
    monkeypatch.setattr(sys, "argv", ["collapse_detector", "--metrics", str(folder)])
    with pytest.raises(SystemExit, match="2"):
        collapse_detector.main()
    assert "expected cells" in capsys.readouterr().err
    for path in folder.parent.glob("oracle*"):
        path.unlink()
    monkeypatch.setattr(sys, "argv", ["collapse_detector", "--metrics", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        collapse_detector.main()
    assert "expected the oracle's metrics" in capsys.readouterr().err
