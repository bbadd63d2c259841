"""params.yaml as frozen models: what may stand in it, and one clear line for what may not.

What is computed depends on params.yaml, whose keys DVC tracks, and not on how these files check them. So no stage but `check`
depends on them (`only_refuses` in stages/listing.py), and a new key reruns nothing that does not use it. Where that is not so, for
the few defaults and constants of recipes, a change has to be followed by `dvc repro --force` of what uses them.
"""

from cgn.config.classifiers import (
    ErmConfig,
    GroupDroConfig,
    IrmConfig,
    LffConfig,
    LntlConfig,
    MethodConfig,
)
from cgn.config.datasets import ColoredConfig, DatasetConfig, Datasets, DoubleColoredConfig, WildlifeConfig
from cgn.config.generators import (
    AuthorsCgnConfig,
    BetaVaeConfig,
    CollapseConfig,
    CutPasteConfig,
    FastCgnConfig,
    GanConfig,
    GeneratorConfig,
)
from cgn.config.imagenet import (
    ClassifierWeights,
    ImagenetCgnConfig,
    ImagenetGenerateBudget,
    ImagenetNetworks,
    ImagenetPictures,
    ImagenetScale,
    ImagenetTrainBudget,
    ImageQualityBudget,
    WeightsConfig,
)
from cgn.config.params import AblateConfig, Compute, Params, Runtime, SweepConfig, check_params, load_params
from cgn.config.scales import ClassifierBudget, FetchConfig, GenerateConfig, Scale
from cgn.config.types import DatasetName, EnvironmentName, FactorName, Precision, SplitName, changed
from cgn.yaml_files import ConfigError

__all__ = [
    "AblateConfig",
    "AuthorsCgnConfig",
    "BetaVaeConfig",
    "ClassifierBudget",
    "ClassifierWeights",
    "CollapseConfig",
    "ColoredConfig",
    "Compute",
    "ConfigError",
    "CutPasteConfig",
    "DatasetConfig",
    "DatasetName",
    "Datasets",
    "DoubleColoredConfig",
    "EnvironmentName",
    "ErmConfig",
    "FactorName",
    "FastCgnConfig",
    "FetchConfig",
    "GanConfig",
    "GenerateConfig",
    "GeneratorConfig",
    "GroupDroConfig",
    "ImageQualityBudget",
    "ImagenetCgnConfig",
    "ImagenetGenerateBudget",
    "ImagenetNetworks",
    "ImagenetPictures",
    "ImagenetScale",
    "ImagenetTrainBudget",
    "IrmConfig",
    "LffConfig",
    "LntlConfig",
    "MethodConfig",
    "Params",
    "Precision",
    "Runtime",
    "Scale",
    "SplitName",
    "SweepConfig",
    "WeightsConfig",
    "WildlifeConfig",
    "changed",
    "check_params",
    "load_params",
]
