"""What a figure depends on besides data and plant file: the code's version and its surroundings."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import procmodel

_LIBRARIES = ("torch", "numpy", "scipy", "casadi", "polars", "mlflow")


def code_version() -> str:
    """Version of procmodel; from a checkout with its commit, and "+changes" where files differ from it."""
    root = Path(procmodel.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return procmodel.__version__

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return f"{procmodel.__version__} {commit}{'+changes' if git('status', '--porcelain') else ''}"
    except (OSError, subprocess.SubprocessError):
        return procmodel.__version__  # no git, or no commit yet


def environment() -> dict[str, str]:
    """Versions and machine, as tags of a run; no name of the machine."""
    found = {"procmodel": code_version(), "python": platform.python_version()}
    found |= {"machine": platform.machine(), "cores": str(os.cpu_count())}
    for name in _LIBRARIES:
        try:
            found[f"version.{name}"] = version(name)
        except PackageNotFoundError:
            continue
    return found


def seal_of(folder: Path) -> str:
    """Short hash of a sealed folder (a dataset, a model) by its manifest, which holds the hash of every file; "" where
    there is none."""
    manifest = folder / "manifest.json"
    return hashlib.sha256(manifest.read_bytes()).hexdigest()[:16] if manifest.is_file() else ""
