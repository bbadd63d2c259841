"""Counterfactory's library: counterfactual generative networks as datasets, generators, classifiers and metrics."""
