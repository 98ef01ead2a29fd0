"""Each term of the training objective against the same arithmetic by hand, window by window and row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from latent_fakes import COLUMNS, LEARNED, ROWS, STATES, batch, filled_by_hand, number, trained, untrained
from torch import Tensor

from procmodel.data.window import Window
from procmodel.world_model.answers import LEAST_ANSWER, Backbone, anchor, contradiction, drift, step_answers
from procmodel.world_model.anti_collapse import TERMS, sigreg
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.objective import ANCHOR_BATCH, Weights, encode_at, info_nce, objective
from procmodel.world_model.protocol import rollout

STEPS = 4


def encoded(model: LatentModel, values: Tensor, mask: Tensor, offset: int) -> Tensor:
    rows = slice(offset, offset + ROWS)
    return model.encode(Window(values=values[:, rows], mask=mask[:, rows]))


def free_run(model: LatentModel, values: Tensor, mask: Tensor) -> list[Tensor]:
    """Latents before the first step and after each, over moves that hold through their gaps."""
    held = np.stack([filled_by_hand(v.numpy(), m.numpy()) for v, m in zip(values, mask, strict=True)])
    latents = [encoded(model, values, mask, 0)]
    for row in range(ROWS, values.shape[1]):
        u, d = (torch.from_numpy(held[:, row, list(columns)]) for columns in (COLUMNS.mv, COLUMNS.dv))
        latents.append(model.step(latents[-1], u, d))
    return latents


def read_out_by_hand(model: LatentModel, values: Tensor, mask: Tensor, discount: float) -> float:
    latents = free_run(model, values, mask)
    total, weight = 0.0, 0.0
    for k in range(values.shape[1] - ROWS):
        y = model.read_out(latents[k + 1]).detach()
        for i, cv in enumerate(COLUMNS.cv):
            squares = [
                number(y[b, i] - values[b, ROWS + k, cv]) ** 2 for b in range(len(values)) if mask[b, ROWS + k, cv] > 0
            ]
            total += discount**k * (sum(squares) / len(squares) if squares else 0.0) / len(COLUMNS.cv)
        weight += discount**k
    return total / weight


def latent_by_hand(model: LatentModel, values: Tensor, mask: Tensor, discount: float, at: list[int]) -> float:
    latents = free_run(model, values, mask)
    total = 0.0
    for k in at:
        gap = (latents[k + 1] - encoded(model, values, mask, k + 1))[:, STATES:]
        total += discount**k * number((gap**2).mean())
    return total / sum(discount**k for k in at)


@pytest.mark.parametrize("discount", [1.0, 0.7])
@pytest.mark.parametrize("good", [1.0, 0.6])
def test_prediction_and_read_out_are_the_formulas_by_hand(discount: float, good: float) -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS, good=good)
    found = objective(model, values, mask, Weights(discount=discount))
    assert number(found.read_out) == pytest.approx(read_out_by_hand(model, values, mask, discount), rel=1e-12)
    by_hand = latent_by_hand(model, values, mask, discount, [0, 1, 2, 3])
    assert number(found.latent) == pytest.approx(by_hand, rel=1e-12)


def test_only_some_steps_have_targets_where_all_would_cost_too_much() -> None:
    model, (values, mask) = trained(), batch(ROWS + 9)
    found = objective(model, values, mask, Weights(targets=3))
    assert number(found.latent) == pytest.approx(latent_by_hand(model, values, mask, 1.0, [0, 4, 8]), rel=1e-12)


def test_a_step_on_which_no_sample_is_good_counts_nothing() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    mask[:, ROWS + 2, COLUMNS.cv] = 0
    found = objective(model, values, mask, Weights())
    assert number(found.read_out) == pytest.approx(read_out_by_hand(model, values, mask, 1.0), rel=1e-12)


@pytest.mark.parametrize("nonsense", [1e5, float("nan")])
def test_what_stands_in_a_gap_changes_neither_loss_nor_gradient(nonsense: float) -> None:
    values, mask = batch(ROWS + STEPS, good=0.6)
    outcomes = []
    for shown in (values, torch.where(mask > 0, values, nonsense)):
        torch.manual_seed(0)
        model = trained()
        losses = objective(model, shown, mask, Weights(shrink=1.0, anchor=1.0), anchor_steps=3)
        losses.total.backward()
        outcomes.append((losses, [p.grad for p in model.parameters()]))
    (plain, gradients), (spoilt, spoilt_gradients) = outcomes
    for name, value in plain.terms().items():
        assert torch.equal(value, spoilt.terms()[name]), name
    for one, other in zip(gradients, spoilt_gradients, strict=True):
        assert torch.equal(one, other)


def test_the_collapse_term_is_sigreg_of_the_learned_part_of_every_other_target() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    torch.manual_seed(5)
    found = objective(model, values, mask, Weights()).sigreg
    torch.manual_seed(5)
    by_hand = torch.stack([sigreg(encoded(model, values, mask, k + 1)[:, STATES:]) for k in (0, 2)]).mean()
    torch.testing.assert_close(found, by_hand)


def test_what_the_network_adds_is_measured_on_its_way() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    latents = torch.stack(free_run(model, values, mask), dim=1)
    held = torch.from_numpy(np.stack([filled_by_hand(v.numpy(), m.numpy()) for v, m in zip(values, mask, strict=True)]))
    moves = torch.cat([held[:, ROWS:, COLUMNS.mv], held[:, ROWS:, COLUMNS.dv]], dim=-1)
    before = latents[:, :-1]
    dx = model.predictor(torch.cat([before, moves], dim=-1))[..., :STATES]
    by_hand = (dx**2).mean() + (model.head(before) ** 2).mean()
    torch.testing.assert_close(objective(model, values, mask, Weights()).added, by_hand)
    assert number(objective(untrained(), values, mask, Weights()).added) == 0


def test_the_total_is_the_weighted_sum_with_sigreg_rescaled_to_the_batch() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS, size=32)
    weights = Weights(read_out=3.0, latent=0.2, sigreg=0.05, shrink=0.7, anchor=1.5)
    losses = objective(model, values, mask, weights, 3)
    found = {name: number(value) for name, value in losses.terms().items()}
    expected = (
        3.0 * found["read_out"]
        + 0.2 * found["latent"]
        + 0.05 * 128 / 32 * found["sigreg"]
        + 0.7 * found["added"]
        + 1.5 * found["anchor"]
    )
    assert found["total"] == pytest.approx(expected, rel=1e-12)
    assert found["anchor"] > 0


def test_the_hinge_is_silent_where_signs_agree_and_counts_what_is_missing_where_they_do_not() -> None:
    model, (values, mask) = trained(), batch(ROWS + 1)
    z, u, d = encoded(model, values, mask, 0), values[:, ROWS - 1, COLUMNS.mv], values[:, ROWS - 1, COLUMNS.dv]
    end_BUY = step_answers(model, z, u, d, 6, 0.5)[:, :, -1]
    point, agree = end_BUY[:1], torch.sign(end_BUY[0])
    one = (z[:1], u[:1], d[:1])
    strong = agree * (point[0].abs() > LEAST_ANSWER)
    assert strong.any()
    assert number(contradiction(model, *one, 6, strong)) == 0
    assert number(contradiction(model, *one, 6, torch.zeros_like(agree))) == 0
    against = ((LEAST_ANSWER + point[0].abs()) ** 2).mean()
    torch.testing.assert_close(contradiction(model, *one, 6, -agree), against)


def test_latents_at_offsets_are_those_of_the_windows_there() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS, good=0.5)
    found = encode_at(model, values, mask, torch.tensor([0, 3, 1]))
    for j, offset in enumerate((0, 3, 1)):
        torch.testing.assert_close(found[:, j], encoded(model, values, mask, offset), rtol=0, atol=1e-12)


# ---- the answer to a move


def linear_answers(model: LatentModel, steps: int) -> torch.Tensor:
    """Those of the linear state by its powers, [U, H, Y]."""
    x, answers = torch.zeros_like(model.B[:, :2]), []
    for _ in range(steps):
        x = model.A @ x + model.B[:, :2]
        answers.append((model.C @ x).T)
    return torch.stack(answers, dim=1)


def test_an_untrained_model_answers_as_its_linear_state() -> None:
    model, (values, mask) = untrained(), batch(ROWS)
    z, u, d = encoded(model, values, mask, 0), values[:, -1, COLUMNS.mv], values[:, -1, COLUMNS.dv]
    answers, linear = step_answers(model, z, u, d, 12, 0.5), linear_answers(model, 12)
    assert answers.shape == (6, 2, 12, 2)
    torch.testing.assert_close(answers, linear.expand_as(answers), rtol=0, atol=1e-12)
    assert number(anchor(model, z, u, d, 12)) < 1e-24
    assert number(objective(model, *batch(ROWS + 1), Weights(anchor=1.0), 12).anchor) < 1e-24


def test_the_linear_answer_ends_at_the_steady_gain() -> None:
    model = untrained()
    steady = model.C @ torch.linalg.solve(torch.eye(STATES).double() - model.A, model.B[:, :2])
    x, u = torch.randn(1, STATES).double(), torch.randn(1, 2).double()
    answer = step_answers(Backbone(model), x, u, torch.zeros(1, 1).double(), 400, 0.5)[0]
    torch.testing.assert_close(answer[:, -1].T, steady, rtol=0, atol=1e-9)
    torch.testing.assert_close(answer, linear_answers(model, 400), rtol=0, atol=1e-9)


def test_an_answer_is_the_difference_of_two_held_runs() -> None:
    model, (values, mask) = trained(), batch(ROWS)
    z, u, d = encoded(model, values, mask, 0), values[:, -1, COLUMNS.mv], values[:, -1, COLUMNS.dv]
    found = step_answers(model, z, u, d, 7, 0.5)
    for mv in range(2):
        runs = []
        for sign in (1, -1):
            moved = u.clone()
            moved[:, mv] += 0.5 * sign
            held = moved[:, None].expand(-1, 7, -1)
            runs.append(model.read_out(rollout(model, z, held, d[:, None].expand(-1, 7, -1))))
        torch.testing.assert_close(found[:, mv], runs[0] - runs[1], rtol=0, atol=1e-12)


def test_the_anchor_binds_the_average_answer_and_not_each_one() -> None:
    model, (values, mask) = trained(), batch(ROWS, size=50)
    z, u, d = encoded(model, values, mask, 0), values[:, -1, COLUMNS.mv], values[:, -1, COLUMNS.dv]
    answers, linear = step_answers(model, z, u, d, 5, 0.5), linear_answers(model, 5)
    by_hand = number(((answers.mean(dim=0) - linear) ** 2).mean())
    assert number(anchor(model, z, u, d, 5)) == pytest.approx(by_hand, rel=1e-12)
    assert number(((answers - linear) ** 2).mean()) > 1.5 * by_hand


def test_the_anchor_is_taken_at_the_first_rows_of_the_batch_and_only_when_asked_for() -> None:
    model, (values, mask) = trained(), batch(ROWS + 1, size=ANCHOR_BATCH + 9, good=1.0)
    weights = Weights(anchor=2.0)
    z, u, d = encoded(model, values, mask, 0), values[:, ROWS - 1, COLUMNS.mv], values[:, ROWS - 1, COLUMNS.dv]
    by_hand = anchor(model, *(part[:ANCHOR_BATCH] for part in (z, u, d)), 6)
    torch.testing.assert_close(objective(model, values, mask, weights, 6).anchor, by_hand)
    assert number(objective(model, values, mask, weights, 0).anchor) == 0
    assert number(objective(model, values, mask, replace(weights, anchor=0.0), 6).anchor) == 0


def test_the_gradient_runs_through_prediction_and_target_alike() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    objective(model, values, mask, Weights(read_out=0.0, latent=1.0, sigreg=0.0)).total.backward()
    shared = model.encoder[0].weight.grad.clone()
    model.zero_grad()
    start = encoded(model, values, mask, 0).detach()  # only the targets are left to carry a gradient to the encoder
    targets = encode_at(model, values, mask, torch.arange(1, STEPS + 1))[..., STATES:]
    run = torch.stack(free_run_from(model, start, values, mask), dim=1)[..., STATES:]
    ((run - targets) ** 2).mean().backward()
    of_targets = model.encoder[0].weight.grad
    assert of_targets.abs().max() > 1e-4
    assert (shared - of_targets).abs().max() > 1e-4
    assert targets.shape[-1] == LEARNED


def free_run_from(model: LatentModel, z: Tensor, values: Tensor, mask: Tensor) -> list[Tensor]:
    held = torch.from_numpy(np.stack([filled_by_hand(v.numpy(), m.numpy()) for v, m in zip(values, mask, strict=True)]))
    out = []
    for row in range(ROWS, values.shape[1]):
        z = model.step(z, held[:, row, COLUMNS.mv], held[:, row, COLUMNS.dv])
        out.append(z)
    return out


def test_contrast_is_its_closed_form_where_targets_are_orthogonal_or_all_the_same() -> None:
    apart = torch.eye(6, dtype=torch.float64)
    by_hand = np.log(1 + 5 * np.exp(-1 / 0.1))
    assert number(info_nce(3 * apart, 0.5 * apart)) == pytest.approx(by_hand, rel=1e-9)
    same = torch.ones(6, 4, dtype=torch.float64)
    assert number(info_nce(same, same)) == pytest.approx(np.log(6), rel=1e-12)


def test_a_stopped_gradient_leaves_the_value_and_takes_the_targets_part_of_the_gradient() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    found = {}
    for target in ("shared", "stop_gradient"):
        model.zero_grad()
        losses = objective(model, values, mask, Weights(target=target))
        losses.latent.backward()
        assert model.encoder[0].weight.grad is not None
        found[target] = (number(losses.latent), model.encoder[0].weight.grad.clone())
    assert found["shared"][0] == found["stop_gradient"][0]
    assert not torch.allclose(found["shared"][1], found["stop_gradient"][1])


@pytest.mark.parametrize("term", sorted(TERMS))
def test_any_anti_collapse_term_may_be_chosen(term: Any) -> None:
    model, (values, mask) = trained(), batch(ROWS + 1, size=16)
    torch.manual_seed(0)
    found = number(objective(model, values, mask, Weights(term=term)).sigreg)
    torch.manual_seed(0)
    targets = encoded(model, values, mask, 1)[:, STATES:]
    assert found == pytest.approx(number(TERMS[term](targets)), rel=1e-9)


# ---- terms that are there when asked for


def test_a_target_that_follows_is_met_without_a_gradient_to_it() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS)
    weights = Weights(target="ema")
    companions = weights.companions(model).double()
    stopped = objective(model, values, mask, Weights(target="stop_gradient"))
    found = objective(model, values, mask, weights, companions=companions)
    assert number(found.latent) == pytest.approx(number(stopped.latent), rel=1e-12)  # it starts where the encoder is
    stopped.latent.backward()
    by_hand = model.encoder[0].weight.grad.clone()
    model.zero_grad()
    found.latent.backward()
    torch.testing.assert_close(model.encoder[0].weight.grad, by_hand)
    assert companions.target is not None
    with torch.no_grad():
        companions.target[-1].bias.add_(1.0)
    moved = number(objective(model, values, mask, weights, companions=companions).latent)
    gap = torch.stack(
        [free_run(model, values, mask)[k + 1] - encoded(model, values, mask, k + 1) for k in range(STEPS)], dim=1
    )
    assert moved == pytest.approx(number(((gap[..., STATES:] - 1.0) ** 2).mean()), rel=1e-12)


def test_terms_that_are_asked_for_stand_beside_and_count_by_their_weights() -> None:
    model, (values, mask) = trained(), batch(ROWS + STEPS + 1, good=1.0)
    weights = Weights(inverse=0.3, straight=0.2, decode=0.5)
    companions = weights.companions(model).double()
    found = objective(model, values, mask, weights, companions=companions)
    plain = objective(model, values[:, :-1], mask[:, :-1], Weights())
    windows = torch.stack([encoded(model, values, mask, k)[:, STATES:] for k in range(3)], dim=1)
    assert companions.moves is not None
    guess = companions.moves(torch.cat([windows[:, 0], windows[:, 1]], dim=-1))
    u = values[:, ROWS, list(COLUMNS.mv)]
    assert number(found.beside["inverse"]) == pytest.approx(number(((guess - u) ** 2).mean()), rel=1e-9)
    one, two = windows[:, 1] - windows[:, 0], windows[:, 2] - windows[:, 1]
    turn = (one * two).sum(dim=1) / (one.norm(dim=1) * two.norm(dim=1))
    assert number(found.beside["straight"]) == pytest.approx(number((1 - turn).mean()), rel=1e-9)
    assert companions.sensors is not None
    run = torch.stack(free_run(model, values[:, :-1], mask[:, :-1]), dim=1)
    gap = companions.sensors(run) - values[:, ROWS - 1 : -1]
    assert number(found.beside["decode"]) == pytest.approx(number((gap**2).mean()), rel=1e-9)
    torch.testing.assert_close(found.read_out, plain.read_out)  # the row beyond takes no part in the free run
    added = 0.3 * found.beside["inverse"] + 0.2 * found.beside["straight"] + 0.5 * found.beside["decode"]
    sigreg_apart = 0.01 * 128 / len(values) * (found.sigreg - plain.sigreg)  # other directions were drawn
    torch.testing.assert_close(found.total, plain.total + added + sigreg_apart)
    assert set(plain.terms()) == set(found.terms()) - {"inverse", "straight", "decode"}


def test_a_drift_that_every_run_shares_escapes_the_anchor_and_not_the_level() -> None:
    model, (values, mask) = untrained(), batch(ROWS + 1, size=ANCHOR_BATCH + 5, good=1.0)
    z, u, d = encoded(model, values, mask, 0), values[:, ROWS - 1, COLUMNS.mv], values[:, ROWS - 1, COLUMNS.dv]
    assert number(drift(model, z, u, d, 8)) < 1e-24  # the linear state itself
    push = torch.randn(STATES, dtype=torch.float64)
    with torch.no_grad():
        model.predictor[-1].bias[:STATES] = push
    x, square = torch.zeros(STATES, dtype=torch.float64), 0.0
    for _ in range(8):
        x = model.A @ x + push
        square += number(((model.C @ x) ** 2).mean()) / 8
    assert number(drift(model, z, u, d, 8)) == pytest.approx(square, rel=1e-9)
    assert number(anchor(model, z, u, d, 8)) < 1e-24
    found = objective(model, values, mask, Weights(level=2.0), 8)
    n = ANCHOR_BATCH
    assert number(found.beside["level"]) == pytest.approx(number(drift(model, z[:n], u[:n], d[:n], 8)), rel=1e-9)
    assert "level" not in objective(model, values, mask, Weights(level=2.0)).beside
