"""A learned model in bare matrices gives the numbers of torch, gaps included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from control_fakes import (
    COLUMN,
    TANKS,
    TanksModel,
    gru_model,
    latent_model,
    make_plant,
    model_with_a_filter,
    model_with_products,
    tanks_scaler,
)

from procmodel.control.by_hand import ByHand, by_hand
from procmodel.data.window import Columns, Scaler, Window
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.surprise import surprise, surprises

PLANT = make_plant(COLUMN)
COLUMNS = Columns.of(PLANT)


def long_window_model(plant: object) -> LatentModel:
    """The linear state reads the newest three of seven rows, the network all."""
    short = latent_model(PLANT)
    model = LatentModel(replace(short.config, rows=7)).double().requires_grad_(False)
    kept = {name: value for name, value in short.state_dict().items() if not name.startswith("encoder.0.weight")}
    model.load_state_dict(kept, strict=False)
    return model


ALL = pytest.mark.parametrize("make", [latent_model, model_with_products, model_with_a_filter, long_window_model])


def windows(rows: int, gaps: float = 0.0, seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(5, rows, COLUMNS.count)) >= gaps
    values = np.where(mask, rng.normal(size=mask.shape), 0.0)
    return Window(values=torch.from_numpy(values), mask=torch.from_numpy(mask.astype(float)))


@ALL
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_windows_are_encoded_as_by_torch(make: object, gaps: float) -> None:
    model = make(PLANT)  # type: ignore[operator]
    mine = by_hand(model)
    assert isinstance(mine, ByHand)
    window = windows(model.rows, gaps)
    with torch.no_grad():
        expected = model.encode(window).numpy()
    assert np.ptp(expected, axis=0).min() > 0.01
    np.testing.assert_allclose(mine.encode(window).numpy(), expected, atol=1e-13)


@ALL
def test_rows_and_read_outs_are_those_of_torch(make: object) -> None:
    model, rng = make(PLANT), np.random.default_rng(3)  # type: ignore[operator]
    mine = by_hand(model)
    z, u, d = (torch.from_numpy(rng.normal(size=(6, size))) for size in (7, 2, 1))
    with torch.no_grad():
        expected, read = model.step(z, u, d).numpy(), model.read_out(z).numpy()
    np.testing.assert_allclose(mine.step(z, u, d).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(mine.read_out(z).numpy(), read, atol=1e-13)


@ALL
def test_surprise_is_that_of_torch(make: object) -> None:
    model, rng = make(PLANT), np.random.default_rng(4)  # type: ignore[operator]
    scaler = Scaler(centre=rng.normal(size=6), spread=rng.uniform(0.5, 2.0, size=6))
    rows = rng.normal(size=(20, 6))
    covariance = np.diag([0.5, 1.0, 2.0]) + 0.1
    expected = surprises(model, scaler, COLUMNS, rows, covariance)
    np.testing.assert_allclose(surprises(by_hand(model), scaler, COLUMNS, rows, covariance), expected, rtol=1e-10)
    rows[-2, 3] = np.nan  # a gap in a CV
    one, other = (surprise(each, scaler, COLUMNS, rows, covariance) for each in (model, by_hand(model)))
    assert one == pytest.approx(other, rel=1e-10)


def test_any_other_model_stays_as_it_is() -> None:
    tanks = TanksModel(make_plant(TANKS), tanks_scaler())
    for model in (tanks, gru_model(PLANT), latent_model(PLANT).float()):
        assert by_hand(model) is model
