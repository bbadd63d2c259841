"""What classifiers learn from, and by which rule: the methods' sections of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cgn.config.types import FactorName, Fraction, Model, NonNegative, Positive, SelectionName, SplitName, Weight


class _MethodConfig(Model):
    """What a classifier learns from: weights of the splits it is shown, `generated` being the counterfactuals."""

    mix: Annotated[dict[SplitName, Weight], Field(min_length=1)]
    label: FactorName = "shape"  # the factor of counterfactuals that is to be told; real images have their one label
    times: Annotated[int, Field(ge=1, le=100)] = 1  # how many of the scale's budgets it trains for
    select: SelectionName | None = None  # the split by whose accuracy one of 20 states is kept; none keeps the last

    @model_validator(mode="after")
    def _label_is_known(self) -> "_MethodConfig":
        if self.label != "shape" and (set(self.mix) - {"train", "generated"} or "generated" not in self.mix):
            raise ValueError(
                f"label: found {self.label!r} for a mix of {', '.join(self.mix)}, expected 'shape': only "
                "counterfactuals, alone or with 'train', show which image has which"
            )
        return self


class _OverSourcesConfig(_MethodConfig):
    """A rule that compares the splits of its mix."""

    @model_validator(mode="after")
    def _has_several(self) -> "_OverSourcesConfig":
        if len(self.mix) < 2:
            raise ValueError(f"mix: found {list(self.mix)}, expected at least two splits to compare")
        return self


class ErmConfig(_MethodConfig):
    """Empirical risk minimisation."""

    rule: Literal["erm"]


class IrmConfig(_OverSourcesConfig):
    """Invariant risk minimisation (Arjovsky et al. 2019); its environments are the splits of the mix."""

    rule: Literal["irm"]
    penalty_weight: NonNegative
    anneal_share: Fraction  # of the steps, during which the penalty's weight is 1


class GroupDroConfig(_OverSourcesConfig):
    """Group distributionally robust optimisation (Sagawa et al. 2020); its groups are the splits of the mix."""

    rule: Literal["group_dro"]
    step_size: Positive  # of the groups' weights


class LntlConfig(_MethodConfig):
    """Learning not to learn (Kim et al. 2019); its bias labels are the image's own colours."""

    rule: Literal["lntl"]
    reversal: NonNegative  # factor of the gradient that reaches the classifier from the colour head
    entropy_weight: NonNegative


class LffConfig(_MethodConfig):
    """Learning from failure (Nam et al. 2020)."""

    rule: Literal["lff"]
    q: Annotated[float, Field(gt=0, le=1)]  # of the biased network's generalised cross entropy
    ema_decay: Fraction  # of an image's remembered losses


MethodConfig = ErmConfig | IrmConfig | GroupDroConfig | LntlConfig | LffConfig
