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
from cgn.config.imagenet_classifiers import (
    ClassifierBudgetConfig,
    EnsembleMethod,
    EvaluationConfig,
    ExplainConfig,
    ImagenetErm,
    ImagenetMethod,
    ImagesConfig,
    In9Config,
    LastLayerMethod,
    PublishedMethod,
    RealSource,
    SetsConfig,
    TrainingRecipe,
    needs_generated,
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
    "ClassifierBudgetConfig",
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
    "EnsembleMethod",
    "EnvironmentName",
    "ErmConfig",
    "EvaluationConfig",
    "ExplainConfig",
    "FactorName",
    "FastCgnConfig",
    "FetchConfig",
    "GanConfig",
    "GenerateConfig",
    "GeneratorConfig",
    "GroupDroConfig",
    "ImageQualityBudget",
    "ImagenetCgnConfig",
    "ImagenetErm",
    "ImagenetGenerateBudget",
    "ImagenetMethod",
    "ImagenetNetworks",
    "ImagenetPictures",
    "ImagenetScale",
    "ImagenetTrainBudget",
    "ImagesConfig",
    "In9Config",
    "IrmConfig",
    "LastLayerMethod",
    "LffConfig",
    "LntlConfig",
    "MethodConfig",
    "Params",
    "Precision",
    "PublishedMethod",
    "RealSource",
    "Runtime",
    "Scale",
    "SetsConfig",
    "SplitName",
    "SweepConfig",
    "TrainingRecipe",
    "WeightsConfig",
    "WildlifeConfig",
    "changed",
    "check_params",
    "load_params",
    "needs_generated",
]
