"""Prefect flows: when stages run. They know DVC targets, never tensors."""
