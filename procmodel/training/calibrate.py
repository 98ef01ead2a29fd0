"""Doubt and heads of a trained model, from rows it was not trained on.

Shapes: T rows, W windows, L rows of the encoder, H horizon rows, C tags, D latent, Y CVs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from procmodel.constraints.fit import HeadSamples, fit_head
from procmodel.constraints.head import ConstraintHead
from procmodel.constraints.labels import Labels, label_blocks, match_rows, read_labels, within
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Scaler
from procmodel.data.windows import Windows
from procmodel.errors import DatasetError, LabelError
from procmodel.plant import Constraint
from procmodel.training.artifact import Calibration
from procmodel.world_model.doubt import doubt_about
from procmodel.world_model.latent_model import LatentModel, forward_fill
from procmodel.world_model.support import Support
from procmodel.world_model.surprise import PACE, error_covariance, errors_ahead, surprises

_NORMAL = 0.999
"""Share of normal rows whose surprise is to stay below the limit: a false hold every 1,000 rows."""


def calibrate(
    model: LatentModel, scaler: Scaler, values_TC: np.ndarray, held: Sequence[Stretch], horizon: int, confidence: float
) -> Calibration:
    """Error quantiles of the corrected forecast, and the surprise limit, on the held-back stretches.

    The correction is the optimizer's own, filter and trust included. Over recorded moves these errors hold the
    unmeasured disturbances too, so the allowance is on the safe side.
    """
    columns = model.config.columns
    errors, judged = [], []
    for stretch in held:
        rows = values_TC[stretch.start : stretch.stop]
        if len(rows) <= model.rows + horizon:
            continue
        errors.append(errors_ahead(model, scaler, columns, rows))
        judged.append(rows)
    covariance = error_covariance(np.concatenate(errors)) if errors else np.eye(len(columns.cv))
    normal = [surprises(model, scaler, columns, rows, covariance, pace=PACE) for rows in judged]
    known = np.concatenate(normal) if normal else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        raise DatasetError(
            f"Doubt cannot be calibrated: no held-back stretch is longer than {model.rows + horizon} rows (window and "
            "horizon) with a good CV in it. Record more, or shorten advice.horizon or training.window."
        )
    doubt = doubt_about(model, scaler, columns, judged, horizon, confidence)
    smooth = np.convolve(known, np.ones(5) / 5, mode="valid") if len(known) > 5 else known
    return Calibration(
        backoff_HY=doubt.backoff_HY,
        trust=doubt.trust,
        surprise_limit=float(1.5 * np.quantile(smooth, _NORMAL)),
        confidence=confidence,
        error_covariance_YY=covariance,
    )


def known_ground(
    model: LatentModel, scaler: Scaler, values_TC: np.ndarray, stretches: Sequence[Stretch], horizon: int
) -> Support:
    """Where the record's latents lie, and where they go by themselves over the horizon with the moves held.

    The second part matters: operators move often, so that few encoded latents are at rest; plans end there.
    """
    columns, windows = model.config.columns, Windows(values_TC, scaler, model.config.columns, dtype=torch.float64)
    at_M, latents_MD = _background(model, windows, stretches)
    last = windows.batch(torch.as_tensor(at_M - model.rows + 1), model.rows)
    held_MC = forward_fill(last.values, last.mask)[:, -1]
    z_MD, ahead = torch.as_tensor(latents_MD), [latents_MD]
    with torch.no_grad():
        for row in range(1, horizon + 1):
            z_MD = model.step(z_MD, held_MC[:, columns.mv], held_MC[:, columns.dv])
            if row % max(1, horizon // 4) == 0:
                ahead.append(z_MD.numpy())
    return Support.of(np.concatenate(ahead))


def learn_head(
    name: str,
    constraint: Constraint,
    model: LatentModel,
    scaler: Scaler,
    dataset: Dataset,
    horizon: int,
    *,
    timezone: str | None = None,
    remark: Callable[[str], None] | None = None,
) -> ConstraintHead:
    """A head on the frozen latent, calibrated on latents rolled out to the labelled rows over recorded moves.

    Args:
        timezone: Of labels' stamps that carry no offset.
        remark: Told, in one sentence, of labels that were left out.

    Raises:
        LabelError, GateError: The labels cannot carry a head (see `fit_head`), or none has history before it.
    """
    columns = model.config.columns
    # Two events with less than a window of history between them are the same one to the encoder.
    apart = model.rows * dataset.step
    labels = read_labels(Path(constraint.labels), constraint=name, apart=apart, timezone=timezone)
    labels = within(labels, dataset)
    windows = Windows(dataset.values, scaler, columns, dtype=torch.float64)
    rows_N = match_rows(labels, dataset, constraint=name)
    begins_N = np.array([next(s.start for s in dataset.stretches if s.start <= row < s.stop) for row in rows_N])
    usable = _with_history(name, labels, rows_N, begins_N, model.rows, remark)
    rows_N, begins_N = rows_N[usable], begins_N[usable]
    at_M, background_MD = _background(model, windows, dataset.stretches)
    samples = HeadSamples(
        margins_N=labels.margins[usable],
        encoded_ND=np.stack([_encode(model, windows, int(row)) for row in rows_N]),
        rolled_NHD=np.stack(
            [_roll_to(model, windows, int(row), int(b), horizon) for row, b in zip(rows_N, begins_N, strict=True)]
        ),
        background_MD=background_MD,
        guides_MG=dataset.values[at_M][:, [*columns.cv, *columns.mv, *columns.dv]],
        blocks=label_blocks(rows_N, dataset, gap=model.rows),
    )
    return fit_head(name, constraint, samples)


def _with_history(
    name: str,
    labels: Labels,
    rows_N: np.ndarray,
    begins_N: np.ndarray,
    window: int,
    remark: Callable[[str], None] | None,
) -> np.ndarray:
    """Which labels the encoder can reach, [N]: a window of history lies between the start of their stretch and them."""
    usable: np.ndarray = rows_N - window + 1 >= begins_N
    short = (
        f"Constraint {name!r}: {len(labels) - usable.sum()} of {len(labels)} labels in {labels.source} have less than "
        f"{window} rows of history before them"
    )
    if not usable.any():
        raise LabelError(
            f"{short}, so that none can be learned from. Label later samples, ingest the history before them, or "
            "shorten training.window."
        )
    if remark and not usable.all():
        remark(f"{short} and were left out.")
    return usable


def _encode(model: LatentModel, windows: Windows, row: int) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model.encode(windows.batch(torch.tensor([row - model.rows + 1]), model.rows))[0].numpy())


def _roll_to(model: LatentModel, windows: Windows, row: int, begin: int, horizon: int) -> np.ndarray:
    """Latents of `row` as predicted 1..H rows ahead, [H, D]; NaN where the past is too short."""
    columns, out = model.config.columns, np.full((horizon, model.latent_size), np.nan)
    reach = min(horizon, row - model.rows + 1 - begin)
    if reach < 1:
        return out
    starts = torch.arange(row - model.rows - reach + 1, row - model.rows + 1)  # ends reach..1 rows before `row`
    seen = windows.batch(torch.tensor([row - reach + 1 - model.rows]), model.rows + reach)
    filled = forward_fill(seen.values, seen.mask)[0, model.rows :]
    with torch.no_grad():
        z_BD = model.encode(windows.batch(starts, model.rows))
        for k in range(reach):  # all still on their way take the same recorded move
            z_BD[: k + 1] = model.step(
                z_BD[: k + 1],
                filled[k, columns.mv].expand(k + 1, -1),
                filled[k, columns.dv].expand(k + 1, -1),
            )
    out[:reach] = z_BD.flip(0).numpy()
    return out


def _background(model: LatentModel, windows: Windows, stretches: Sequence[Stretch]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their latents, a few thousand evenly over the record."""
    starts = windows.starts(stretches, model.rows)
    some = starts[torch.linspace(0, len(starts) - 1, min(len(starts), 3000)).long()]
    with torch.no_grad():
        latents = model.encode(windows.batch(some, model.rows)).numpy()
    return some.numpy() + model.rows - 1, latents
