"""Generators: a module and its training loop each, chosen by `recipe` from `GENERATORS`."""

from cgn.generators.mnist_cgn import FastCgnTraining, MnistCgn

GENERATORS = {"fast": (MnistCgn, FastCgnTraining)}

__all__ = ["GENERATORS", "FastCgnTraining", "MnistCgn"]
