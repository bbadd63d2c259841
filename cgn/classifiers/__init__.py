"""Learning rules for classifiers, chosen by name from `METHODS`."""

from cgn.classifiers.base import Method, Setting, TrainingBatch
from cgn.classifiers.erm import Erm
from cgn.classifiers.group_dro import GroupDro
from cgn.classifiers.irm import Irm
from cgn.classifiers.lff import Lff
from cgn.classifiers.lntl import Lntl

METHODS: dict[str, type[Method]] = {"erm": Erm, "irm": Irm, "group_dro": GroupDro, "lntl": Lntl, "lff": Lff}

__all__ = ["METHODS", "Method", "Setting", "TrainingBatch"]
