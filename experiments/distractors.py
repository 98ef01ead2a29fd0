"""Tags that nobody can predict: what do they cost a joint-embedding model, a generative one, and a supervised one?

The evaporator under its operator, with 0, 100 and 500 tags of noise beside its own, each new at every row. All three
have the same encoder over all tags, the same predictor and the same budget; what the latent is trained on differs:

- `joint-embedding`: the encoding of what comes, with SIGReg (the default of procmodel);
- `generative`: the values of all tags at each row that comes, through a decoder;
- `supervised`: the CVs alone.

Each has the joint read-out of the CVs as well. Judged by the CVs' free-run error on rows at the end, over the moves
that the operator made there. A small budget: `results` says how many rows, batches and seeds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.contract import Outcome, run_experiment
from procmodel.data.dataset import Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows
from procmodel.simulation import operate, reference_plant
from procmodel.world_model.latent_model import LatentModel, ModelConfig, mlp
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.objective import Weights, encode_at, objective
from procmodel.world_model.protocol import rollout

PLANT, ROWS, TEST = "evaporator", 9000, 2000
HISTORY, AHEAD, LONG, LATENT, HIDDEN, BATCH = 12, 20, 60, 16, 48, 64
JOINT = Weights(targets=3)
SUPERVISED = replace(JOINT, latent=0.0, sigreg=0.0)
DECODED = 1.0
"""Weight of the decoder's error, a mean square over all tags."""


def rows_with(distractors: int) -> tuple[np.ndarray, Columns]:
    """What the instruments showed, with tags of noise behind the plant's own."""
    reference = reference_plant(PLANT)
    rows = operate(reference, rows=ROWS, seed=0).rows
    noise = np.random.default_rng(1).normal(size=(ROWS, distractors))
    own = Columns.of(reference.plant)
    return np.concatenate([rows, noise], axis=1), replace(own, count=own.count + distractors)


class Generative(nn.Module):
    """Values of all tags from the latent."""

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model
        self.decoder = mlp(model.latent_size, HIDDEN, model.config.columns.count, zero=False)

    def loss(self, values_BTC: Tensor, mask_BTC: Tensor) -> Tensor:
        """Mean square error of all tags at the rows that come, and at the last one seen."""
        columns, rows = self.model.config.columns, self.model.rows
        z_BD = encode_at(self.model, values_BTC, mask_BTC, torch.zeros(1, dtype=torch.int64))[:, 0]
        z_BKD = rollout(self.model, z_BD, values_BTC[:, rows:, columns.mv], values_BTC[:, rows:, columns.dv])
        seen = torch.cat([z_BD[:, None], z_BKD], dim=1)
        error: Tensor = (self.decoder(seen) - values_BTC[:, rows - 1 :]) ** 2
        return error.mean()


def trained(kind: str, windows: Windows, linear: LinearState, columns: Columns, seed: int, batches: int) -> LatentModel:
    """A model of one kind after so many batches."""
    torch.manual_seed(seed)
    model = LatentModel(
        ModelConfig(columns=columns, rows=HISTORY, lags=HISTORY - 1, state=len(linear.A), latent=LATENT, hidden=HIDDEN)
    )
    model.start_from(linear)
    whole = Generative(model)
    weights = JOINT if kind == "joint-embedding" else SUPERVISED
    optimizer = torch.optim.AdamW(whole.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=batches + 1)
    starts = windows.starts([Stretch(name="train", start=0, stop=ROWS - TEST)], HISTORY + AHEAD)
    order = windows.sampler(starts, np.random.default_rng(seed), BATCH)
    for _ in range(batches):
        window = windows.batch(next(order), HISTORY + AHEAD)
        total = objective(model, window.values, window.mask, weights).total
        if kind == "generative":
            total = total + DECODED * whole.loss(window.values, window.mask)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def free_run_errors(model: LatentModel, windows: Windows, columns: Columns) -> dict[str, float]:
    """Root mean square CV error on the rows at the end, in spreads of each CV, after so many rows."""
    starts = windows.starts([Stretch(name="test", start=ROWS - TEST, stop=ROWS)], HISTORY + LONG)[::8]
    window = windows.batch(starts, HISTORY + LONG)
    ahead = window.values[:, HISTORY:]
    z_BD = model.encode_rows(window.values[:, :HISTORY], window.mask[:, :HISTORY])
    y_BHY = model.read_out(rollout(model, z_BD, ahead[..., columns.mv], ahead[..., columns.dv]))
    error_H = ((y_BHY - ahead[..., columns.cv]) ** 2).mean(dim=(0, 2)).sqrt()
    return {str(row): float(error_H[row - 1]) for row in (1, AHEAD, LONG)}


KINDS = ("joint-embedding", "generative", "supervised")


def study(quick: bool) -> Outcome:
    """CV error of three kinds of latent beside 0, 100 and 500 tags of noise."""
    counts, seeds, batches = ((0, 20), (0,), 4) if quick else ((0, 100, 500), (0, 1), 200)
    table: list[dict[str, Any]] = []
    for count in counts:
        rows, columns = rows_with(count)
        scaler = Scaler.fit(rows[:-TEST])
        windows = Windows(rows, scaler, columns)
        scaled = scaler.scale(rows[:-TEST])
        run = (scaled[:, columns.cv], scaled[:, [*columns.mv, *columns.dv]])
        linear = fit_linear_state([run], HISTORY - 1, 8)
        for kind in KINDS:
            found = [
                free_run_errors(trained(kind, windows, linear, columns, seed, batches), windows, columns)
                for seed in seeds
            ]
            mean = {row: float(np.mean([each[row] for each in found])) for row in found[0]}
            table.append({"distractors": count, "kind": kind, "error": mean, "by_seed": found})
            print(f"{count} distractors, {kind}: {mean}", file=sys.stderr)
    return Outcome(
        values={},
        results={
            "errors": table,
            "budget": {"rows": ROWS - TEST, "batches": batches, "batch": BATCH, "history": HISTORY, "free_run": AHEAD},
        },
        seeds=list(seeds),
        lines=[
            f"{one['distractors']:4d} tags of noise  {one['kind']:16} "
            + "  ".join(f"{error:.4f} after {row}" for row, error in one["error"].items())
            for one in table
        ],
    )


if __name__ == "__main__":
    sys.exit(run_experiment("distractors", study))
