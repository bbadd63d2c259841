"""Keeping the programs that tests start away from this user's own settings and caches."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def own_settings(folder: Path) -> dict[str, str]:
    """Environment variables for git, DVC and Prefect: everything of a user lies in `folder`, and nobody asks who."""
    return {
        "PYTHONPATH": str(ROOT),
        "DVC_NO_ANALYTICS": "1",
        **{f"DVC_{name}_DIR": str(folder / name.lower()) for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
        "PREFECT_HOME": str(folder / "prefect"),
    }
