"""Prefect flows: when stages run. They know DVC targets, never tensors."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's client has no setting for this; prefect.toml tells its server
