"""Learning rules for classifiers, chosen by name from `METHODS`."""

from cgn.classifiers.base import Method
from cgn.classifiers.erm import Erm

METHODS: dict[str, type[Method]] = {"erm": Erm}

__all__ = ["METHODS", "Method"]
