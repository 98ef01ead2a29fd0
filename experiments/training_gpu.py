"""What share of a GPU's arithmetic a training uses, at three model sizes: `python -m experiments.training_gpu --json`.

The rate that is possible is measured in the same run: a product of square matrices of 8,192, in single precision and in
bfloat16. The operations of a batch are counted while one is computed (products alone, as PyTorch's counter does). Each
size is trained as `procmodel train` does, by Lightning from rows that live on the GPU; beside it the same steps on one
batch that is there, recorded as a CUDA graph and, for what that is worth, kernel by kernel. Each way takes so many
batches that the arithmetic alone lasts some seconds; recording the graph, judging and storing an epoch count too.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.contract import Outcome, run_experiment
from experiments.training_speed import ON_GPU, SEED, SETTINGS, bare, endless, fresh, record, trained
from procmodel.data.dataset import Stretch
from procmodel.data.windows import Windows
from procmodel.errors import ProcmodelError
from procmodel.training.feed import Batch, Feed
from procmodel.training.module import Fit
from procmodel.training.settings import Settings
from procmodel.training.step import Loss

REPEATS = 3
LEAST_SECONDS = 4.0
"""Of arithmetic in one repeat."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """One model and its batch; `batches` of an epoch, at least."""

    name: str
    latent: int
    hidden: int
    batch: int
    batches: int

    def settings(self, *, half: bool) -> Settings:
        return replace(
            SETTINGS, latent=self.latent, hidden=self.hidden, batch=self.batch, batches=self.batches, half=half
        )


SIZES = (
    Size(name="default", latent=16, hidden=64, batch=128, batches=400),
    Size(name="medium", latent=64, hidden=512, batch=1024, batches=100),
    Size(name="large", latent=256, hidden=4096, batch=2048, batches=10),
)


def study(quick: bool) -> Outcome:
    """Share of the measured rate of matrix products that training reaches, at three model sizes, on one GPU."""
    if not ON_GPU:
        raise ProcmodelError(
            "No GPU: PyTorch sees none. Run this where torch.cuda.is_available(); nothing was measured."
        )
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    rates = {"single": product_rate(torch.float32), "bfloat16": product_rate(torch.bfloat16)}
    lines = [f"products of 8,192: {name} {rate / 1e12:.0f} TFLOP/s" for name, rate in rates.items()]
    table = {}
    repeats, seconds = (1, 0.0) if quick else (REPEATS, LEAST_SECONDS)
    for size in (replace(size, batches=3) if quick else size for size in SIZES):
        table[size.name] = {
            precision: _measured(size, precision, rate, repeats, seconds) for precision, rate in rates.items()
        }
        lines += [_line(size.name, precision, each) for precision, each in table[size.name].items()]
        print("\n".join(lines[-2:]), file=sys.stderr, flush=True)
    results = {"gpu": torch.cuda.get_device_name(), "product_flop_per_s": rates, "sizes": table}
    return Outcome(values={}, results=results, seeds=[SEED], lines=lines)


def product_rate(dtype: torch.dtype, n: int = 8192) -> float:
    """Floating-point operations per second of one large product."""
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    rates = []
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        rates.append(2 * n**3 / (time.perf_counter() - began))
    return median(rates)


def _measured(size: Size, precision: str, rate: float, repeats: int, least_seconds: float) -> dict[str, Any]:
    """Windows per second by the way, and the share of the rate that the training reaches."""
    gc.collect()  # the graphs of the size before
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    settings = size.settings(half=precision == "bfloat16")
    windows, train, held = record()
    batch = next(endless(_feed(windows, train, held, settings)))
    operations = operations_of(settings, batch)
    per_second = bare(batch, settings) / settings.batch
    settings = replace(settings, batches=max(settings.batches, ceil(least_seconds * per_second / settings.epochs)))
    feed = _feed(windows, train, held, settings)
    runs = {
        "training": [trained(feed, settings) for _ in range(repeats)],
        "one batch, recorded": [bare(batch, settings) for _ in range(repeats)],
        "one batch, kernel by kernel": [
            bare(batch, replace(settings, batches=settings.batches // 20 + 1), record=False)
        ],
    }
    speed = {way: median(values) for way, values in runs.items()}
    return {
        "windows_per_second": speed,
        "repeats": runs,
        "parameters": sum(weight.numel() for weight in fresh(settings).parameters()),
        "operations_per_batch": operations,
        "batches": settings.epochs * settings.batches,
        "share_of_rate": {way: value / settings.batch * operations / rate for way, value in speed.items()},
        "share_of_preloaded": speed["training"] / speed["one batch, recorded"],
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9,
    }


def _feed(windows: Windows, train: Stretch, held: Stretch, settings: Settings) -> Feed:
    feed = Feed(windows, [train], [held], settings)
    feed.trainer = None
    return feed


def operations_of(settings: Settings, batch: Batch) -> float:
    """Of one batch, forwards and backwards."""
    fit = Fit(fresh(settings).cuda(), settings)
    loss = Loss(fit.model, fit.companions, fit.stage)
    with FlopCounterMode(display=False) as counter:
        loss(batch[0].cuda(), batch[1].cuda())[0].backward()
    return float(counter.get_total_flops())


def _line(name: str, precision: str, each: dict[str, Any]) -> str:
    speeds, shares = each["windows_per_second"], each["share_of_rate"]
    ways = ", ".join(f"{way} {speeds[way]:.0f} ({shares[way]:.1%})" for way in speeds)
    sizes = f"{each['parameters']} parameters, {each['operations_per_batch']:.3g} operations a batch"
    return f"{name}, {precision}: {sizes}; windows/s (share of the rate): {ways}"


if __name__ == "__main__":
    sys.exit(run_experiment("training_gpu", study))
