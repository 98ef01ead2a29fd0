"""A plant of another package in a process of its own, asked by one JSON object per line.

Packages that need other versions than procmodel live in an environment below `runs/`, which is made at the first run.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

FILES = Path(__file__).with_name("peer_plants")


class Asked(Protocol):
    """A plant behind a pipe, or what stands in its place in a test."""

    def ask(self, **request: Any) -> dict[str, Any]:
        """Answer to one request."""
        ...


class Worker:
    """A script of `peer_plants/` behind its pipe.

    Args:
        wanted: What pip installs into `home/venv`, once.
    """

    def __init__(self, script: str, home: Path, wanted: Sequence[str]) -> None:
        self._name = script
        words = [str(_interpreter(home, wanted)), "-W", "ignore", str(FILES / script)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # it ended before it read all
                pipe.close()  # type: ignore[union-attr]
        self._process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Answer of the worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self._name} ended; its message stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _interpreter(home: Path, wanted: Sequence[str]) -> Path:
    """Of an environment with the wanted packages, made when it is not there yet."""
    folder = home / "venv"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"Installing {', '.join(wanted)} into {folder}: once, a few minutes.", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return python.absolute()
