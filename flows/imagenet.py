"""The ImageNet road as a Prefect flow: `python -m flows.imagenet [stage …]` runs the stages that `imagenet` in params.yaml brings in."""

from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State

from cgn.config import ConfigError, Params, check_params, load_params
from flows.dvc import Stage, groups_over, plan
from flows.pipeline import PARAMS, bring_all_up_to_date, run_from_terminal, run_name


@flow(name="imagenet", flow_run_name=run_name("imagenet"), persist_result=False)
def imagenet(targets: list[str] | None = None) -> State:
    """Bring the named stages, or all, up to date; the run fails if a stage does, after all that does not need it."""
    return bring_all_up_to_date(stages, targets or (), deadline=lambda runtime: runtime.imagenet_stage_timeout_seconds)


def stages(targets: Sequence[str] = ()) -> tuple[Stage, ...]:
    """The named stages, or all of the ImageNet road, with what they need.

    Raises: ConfigError where params.yaml asks for none.
    """
    _check_scales(load_params(PARAMS), PARAMS)
    road = groups_over("imagenet")
    return plan(targets, admits=lambda group: group in road)


def check(path: Path) -> None:
    """Raises: ConfigError where params.yaml is wrong, or asks for no scale of the ImageNet road."""
    _check_scales(check_params(path), path)


def _check_scales(params: Params, path: Path) -> None:
    if not params.imagenet:
        known = sorted(params.imagenet_scales)
        raise ConfigError(
            f"{path}: imagenet: found [], expected a scale of the ImageNet road, one of {', '.join(known)}; "
            f"change the line `imagenet: []` to `imagenet: [{known[-1]}]`",
            "imagenet",
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow here and now; exit with 2 on a wrong params.yaml or one without ImageNet, with 1 if anything failed."""
    run_from_terminal(imagenet, stages, check=check, description=__doc__, argv=argv)


if __name__ == "__main__":
    main()
