"""A PostgreSQL server of our own: started in a temporary folder on a free port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """Its address; skips where PostgreSQL is not installed."""
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    programs = bins[-1].parent
    if not (programs / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed; run .ci/servers")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # as whom it does not start
        names = {each.pw_name for each in pwd.getpwall()}
        user = {"user": next(name for name in ("postgres", "nobody") if name in names)}
    folder = Path(tempfile.mkdtemp(prefix="procmodel-pg-"))
    if user:
        shutil.chown(folder, user["user"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), "-D", str(folder / "data"), *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            **user,
        )

    run("initdb", "-A", "trust", "-N", "-U", "tester", "-E", "UTF8", "--locale=C")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-w", "-o", settings, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
