"""The MNIST pipeline as a Prefect flow: `python -m flows.mnist [stage …]` does what `dvc repro [stage …]` does, without ImageNet."""

from collections.abc import Sequence

from prefect import flow
from prefect.client.schemas.objects import State

from cgn.config import check_params
from flows.dvc import Stage, groups_over, plan
from flows.pipeline import bring_all_up_to_date, run_from_terminal, run_name


@flow(name="mnist", flow_run_name=run_name("mnist"), persist_result=False)
def mnist(targets: list[str] | None = None) -> State:
    """Bring the named stages, or all, up to date; the run fails if a stage does, after all that does not need it."""
    return bring_all_up_to_date(stages, targets or (), deadline=lambda runtime: runtime.stage_timeout_seconds)


def stages(targets: Sequence[str] = ()) -> tuple[Stage, ...]:
    """The named stages, or all but ImageNet's, which take days at full scale and have a flow of their own."""
    imagenet = groups_over("imagenet")
    return plan(targets, admits=lambda group: group not in imagenet)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow here and now; exit with 2 on a wrong params.yaml, with 1 if anything failed."""
    run_from_terminal(mnist, stages, check=check_params, description=__doc__, argv=argv)


if __name__ == "__main__":
    main()
