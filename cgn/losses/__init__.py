"""Losses: pure, unweighted functions; weights stand in params.yaml and are applied in the training loops."""
