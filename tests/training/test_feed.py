"""Batches depend on seed and epoch alone, and never leave the part they are cut from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_plants import tiny_plant, tiny_record

from procmodel.training.feed import Batch, Feed
from procmodel.training.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(tiny_record(), tiny_plant())


def feed(prepared: Prepared, seed: int = 0) -> Feed:
    chosen = replace(prepared.settings, seed=seed)
    return Feed(prepared.windows, prepared.parts.train, prepared.parts.validation, chosen)


def epoch(feed: Feed, number: int) -> list[Batch]:
    feed.epochs.epoch = number
    return list(feed.train_dataloader())


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_the_same_seed_and_epoch_give_the_same_batches_whatever_came_before(prepared: Prepared) -> None:
    through, resumed = feed(prepared), feed(prepared)
    epochs = [epoch(through, number) for number in range(3)]
    torch.manual_seed(99)
    assert same(epoch(resumed, 2), epochs[2])
    assert same(epoch(through, 0), epochs[0])


def test_another_epoch_or_seed_gives_other_batches(prepared: Prepared) -> None:
    first = epoch(feed(prepared), 0)
    assert not same(epoch(feed(prepared), 1), first)
    assert not same(epoch(feed(prepared, seed=1), 0), first)


def test_a_batch_is_windows_of_history_and_free_run(prepared: Prepared) -> None:
    batches = epoch(feed(prepared), 0)
    assert len(batches) == 10
    values, mask = batches[0]
    assert values.shape == mask.shape == (32, 8 + 30, 5)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert (values[mask == 0] == 0).all()


def test_training_batches_show_training_rows_only(prepared: Prepared) -> None:
    training = {tuple(row) for s in prepared.parts.train for row in prepared.windows.values[s.start : s.stop].tolist()}
    shown = {tuple(row) for values, _ in epoch(feed(prepared), 0) for row in values.flatten(0, 1).tolist()}
    assert shown <= training
    held = {tuple(row) for row in feed(prepared).held[0].flatten(0, 1).tolist()}
    assert held.isdisjoint(training)


def test_validation_is_one_batch_that_never_changes(prepared: Prepared) -> None:
    one, other = feed(prepared), feed(prepared, seed=5)
    [batch] = list(one.val_dataloader())
    assert same([batch], [other.held])
    assert batch[0].shape[1:] == (38, 5)


def test_what_is_shown_of_the_training_rows_is_spread_evenly_over_them(prepared: Prepared) -> None:
    values, mask = feed(prepared).seen
    assert values.shape == mask.shape == (512, 38, 5)
    train = prepared.parts.train
    record = prepared.windows.values
    assert torch.equal(values[0], record[train[0].start : train[0].start + 38])
    assert torch.equal(values[-1], record[train[-1].stop - 38 : train[-1].stop])
