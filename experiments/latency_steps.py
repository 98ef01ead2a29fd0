"""One row of the model for general solvers, written by several hands: CasADi's MX and SX, its ONNX import, L4CasADi.

Shapes: D latent, U MVs, V DVs, N rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import casadi as ca
import torch
from torch import Tensor

from experiments.latency_sizes import Rig
from procmodel.control.export import step_function, write_onnx

L4CASADI = "l4casadi==2.0.0"
# Of its pyproject.toml; built without isolation, or its build does not find the installed torch.
L4CASADI_BUILD = ("scikit-build>=0.17", "setuptools>=68.1,<81", "ninja", "cmake<4", "wheel")


def step_of(kind: str, made: Rig, home: Path) -> Any:
    """`(z [D], u [U], d [V]) -> z one row later [D]`: "mx", "sx", "onnx" or "l4casadi"; files go to `home`."""
    if kind == "onnx":
        return imported(made, home / f"{made.size.name}.onnx")
    if kind == "l4casadi":
        return InOneBatch(made, home / "l4casadi")
    own = step_function(made.model)
    return own.expand() if kind == "sx" else own


def imported(made: Rig, path: Path) -> Any:
    """What CasADi reads back from our ONNX file as expressions, so that IPOPT has all derivatives.

    Without `symbolic` it would evaluate the graph by an ONNX Runtime that is not in its wheel.
    """
    write_onnx(made.model, path)
    return ca.GraphBuilder(str(path), {}).create("step", {"symbolic": True})


class InOneBatch:
    """The step by L4CasADi, all rows of multiple shooting in one batch: the form that serves it best.

    It hands torch single precision whatever it is given; the network within is in double.
    """

    def __init__(self, made: Rig, home: Path) -> None:
        self._made, self._home, self._own = made, home, step_function(made.model)

    def mapaccum(self, name: str, steps: int) -> Any:
        """Row after row, for the start of multiple shooting only."""
        return self._own.mapaccum(name, steps)

    def map(self, steps: int) -> Any:
        """All rows at once, `(z [D, N], u [U, N], d [V, N]) -> [D, N]`."""
        l4casadi = _l4casadi(self._home)
        build = self._home / "generated" / self._made.size.name
        build.mkdir(parents=True, exist_ok=True)
        latent, mvs, dvs = self._made.model.latent_size, self._made.size.mvs, self._made.size.dvs
        rowwise = Rowwise(self._made, latent, mvs)
        made = l4casadi.L4CasADi(rowwise, batched=True, name=f"step_{self._made.size.name}", build_dir=str(build))
        given = [ca.MX.sym(name, rows, steps) for name, rows in (("z", latent), ("u", mvs), ("d", dvs))]
        # On torch 2.13 TorchScript's executor joins the sum of two products into one of shapes that do not fit.
        torch._C._set_graph_executor_optimize(False)
        return ca.Function("ahead", given, [made(ca.vertcat(*given).T).T])


class Rowwise(torch.nn.Module):
    """`[N, D + U + V] -> [N, D]` in single precision outside."""

    def __init__(self, made: Rig, latent: int, mvs: int) -> None:
        super().__init__()
        self._model, self._cuts = made.model, (latent, latent + mvs)

    def forward(self, rows_NC: Tensor) -> Tensor:
        """Each row by itself."""
        rows_NC, (first, second) = rows_NC.double(), self._cuts
        return self._model.step(rows_NC[:, :first], rows_NC[:, first:second], rows_NC[:, second:]).float()


def _l4casadi(home: Path) -> Any:
    """The package, built against this environment's torch into a folder beside it at the first call."""
    site, tools = home / "site", home / "build-tools"
    if not (site / "ready").exists():
        print(f"Building {L4CASADI} into {site}: once, a few minutes.", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target"]
        subprocess.run([*pip, str(tools), *L4CASADI_BUILD], check=True, stdout=sys.stderr)
        words = {**os.environ, "PYTHONPATH": str(tools.absolute())}
        built = [*pip, str(site), "--no-build-isolation", "--no-deps", L4CASADI]
        subprocess.run(built, check=True, stdout=sys.stderr, env=words)
        (site / "ready").touch()
    sys.path.insert(0, str(site.absolute()))
    import l4casadi

    return l4casadi
