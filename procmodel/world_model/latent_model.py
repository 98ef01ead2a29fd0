"""The learned world model: a joint-embedding predictor around a linear innovations state.

The latent is `z = [x, s]`: x, the linear state that least squares found, with products of states and inputs where the
record shows that it curves, and whose part of the answer to a move is kept; s, learned by predicting the encoding of
the future. A network, zero at the start of training, adds what they miss. Why: docs/closed-loop-data.md.

Shapes: B batch, L rows of history, C tags, D = N + S latent, N linear states, S learned, U MVs, V DVs, Y CVs,
Q = N + U + V coordinates of the products. Scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from procmodel.data.window import Columns, Window
from procmodel.world_model.free_run import FreeRun
from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import Products


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a latent model.

    Attributes:
        rows: L, history rows the encoder reads.
        lags: Rows of it that the linear state reads, the newest itself not counted.
        state: N. latent: S. hidden: Width of the hidden layers.
        products: Whether products stand beside the linear state; no model of 0.1 has them.
        filtered: Whether the state of a window is found by a filter from its first row on, in place of a linear map.
    """

    columns: Columns
    rows: int
    lags: int
    state: int
    latent: int
    hidden: int
    products: bool = False
    filtered: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        columns: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["columns"].items()}
        return cls(**{**data, "columns": Columns(**columns)})


def forward_fill(values_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
    """Gaps take the last good value before them, leading gaps the first after; a tag with none at all its mean, 0."""
    if not values_BLC.is_cuda and bool((mask_BLC > 0).all()):  # as a rule in a tick; elsewhere asking would wait
        return values_BLC
    first = torch.zeros(1, dtype=torch.int64, device=values_BLC.device)
    return filled_windows(values_BLC, mask_BLC, first, values_BLC.shape[1])[:, 0]


def filled_windows(values_BTC: Tensor, mask_BTC: Tensor, offsets_J: Tensor, length: int) -> Tensor:
    """Windows of `length` rows that begin `offsets_J` rows into the batch, each filled from its own rows alone as
    `forward_fill` says, [B, J, length, C]. Overlapping windows share the search for good rows."""
    count = values_BTC.shape[1]
    rows = torch.arange(count, device=values_BTC.device)
    good = mask_BTC > 0
    last_BTC = torch.where(good, rows[:, None], 0).cummax(dim=1).values
    next_BTC = torch.where(good, rows[:, None], count).flip(1).cummin(dim=1).values.flip(1)
    begin_J = offsets_J.to(rows.device)
    first_BJC = next_BTC[:, begin_J]
    opening_BJC = values_BTC.gather(1, first_BJC.clamp_max(count - 1))
    opening_BJC = torch.where(first_BJC < begin_J[:, None] + length, opening_BJC, 0.0)
    at_JL = begin_J[:, None] + rows[:length]
    is_early = at_JL[..., None] < first_BJC.unsqueeze(2)
    return torch.where(is_early, opening_BJC.unsqueeze(2), values_BTC.gather(1, last_BTC)[:, at_JL])


class Network(nn.Sequential):
    """Layers one after the other; inside `in_half` their products are in bfloat16, what they give is as precise as ever
    in type only."""

    halves: list[tuple[Tensor, Tensor]] | None = None

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of each linear layer, in the precision that it runs in now."""
        return self.halves or [(layer.weight, layer.bias) for layer in self if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        if self.halves is None:
            return super().forward(x)  # type: ignore[no-untyped-call,no-any-return]
        y, left = x.to(torch.bfloat16), iter(self.halves)
        for layer in self:
            y = nn.functional.linear(y, *next(left)) if isinstance(layer, nn.Linear) else layer(y)
        return y.to(x.dtype)


@contextmanager
def in_half(*modules: nn.Module) -> Iterator[None]:
    """The networks of these modules in bfloat16. Their weights are cast once, with a gradient; all else (the linear
    state, the anti-collapse term, every sum) stays as precise as it was, which autocasting would not grant it."""
    networks = [part for module in modules for part in module.modules() if isinstance(part, Network)]
    for network in networks:
        network.halves = [(w.to(torch.bfloat16), b.to(torch.bfloat16)) for w, b in network.layers()]
    try:
        yield
    finally:
        for network in networks:
            network.halves = None


def mlp(inputs: int, hidden: int, outputs: int, *, zero: bool) -> Network:
    """Two hidden layers of tanh: smooth, since the optimizer differentiates; bounded, so that far from the data the
    linear part decides."""
    last = nn.Linear(hidden, outputs)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return Network(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last)


def encoder_input(filled_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
    """What the encoder's first layer reads of a window: values with their gaps filled, and where the gaps were."""
    return torch.cat([filled_BLC, mask_BLC], dim=-1).flatten(1)


class LatentModel(nn.Module):
    """`encode`, `step` and `read_out` of `WorldModel`; trained by `procmodel.training`."""

    A: Tensor
    B: Tensor
    C: Tensor
    K: Tensor
    bias: Tensor
    offset: Tensor
    to_state: Tensor
    state_bias: Tensor
    centre: Tensor
    rate: Tensor
    quadratic: Tensor
    slope: Tensor
    rest: Tensor
    mv_at: Tensor
    dv_at: Tensor
    cv_at: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.rows = config.rows
        self.latent_size = config.state + config.latent
        columns = config.columns
        inputs, cvs = len(columns.mv) + len(columns.dv), len(columns.cv)
        n, s, hidden = config.state, config.latent, config.hidden
        q = n + inputs
        curved = {"centre": (q,), "rate": (q,), "quadratic": (n, q, q), "slope": (n, q), "rest": (n,)}
        for name, shape in {
            "A": (n, n), "B": (n, inputs), "C": (cvs, n), "bias": (n,), "offset": (cvs,),
            "to_state": (1 if config.filtered else config.lags + 1, inputs + cvs, n), "state_bias": (n,),
            **({"K": (n, cvs)} if config.filtered else {}),
            **(curved if config.products else {}),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape))
        # Where the tags of each role stand, on the model's device: an index from elsewhere is a transfer at each use.
        for name, at in {"mv_at": columns.mv, "dv_at": columns.dv, "cv_at": columns.cv}.items():
            self.register_buffer(name, torch.tensor(at, dtype=torch.int64), persistent=False)
        self.encoder = mlp(config.rows * columns.count * 2, hidden, s, zero=False)
        self.predictor = mlp(n + s + inputs, hidden, n + s, zero=True)
        self.decay = nn.Parameter(torch.full((s,), 3.0))  # sigmoid(3) = 0.95 a row: plants are slow
        self.head = mlp(n + s, hidden, cvs, zero=True)

    def start_from(self, linear: LinearState) -> None:
        """Take the linear state as the backbone."""
        pairs = {"A": linear.A, "B": linear.B, "C": linear.C, "bias": linear.bias, "offset": linear.offset}
        if linear.begin is None or linear.begin_bias is None:
            pairs |= {"to_state": linear.encoder, "state_bias": linear.encoder_bias}
        else:
            pairs |= {"to_state": linear.begin[None], "state_bias": linear.begin_bias, "K": linear.K}
        for name, value in pairs.items():
            getattr(self, name).copy_(torch.as_tensor(value, dtype=self.A.dtype))

    def curve_by(self, products: Products) -> None:
        """Put products beside the linear state; only a model whose config says so has room for them."""
        for name in ("centre", "rate", "quadratic", "slope", "rest"):
            getattr(self, name).copy_(torch.as_tensor(getattr(products, name), dtype=self.A.dtype))

    @torch.no_grad()
    def keep(self, share: float) -> None:
        """Scale what the network adds to the state and to the CVs; its learned part of the latent stays as it is."""
        states = slice(self.config.state)
        for name, weight in self.named_parameters():
            if name.startswith("predictor.4."):
                weight[states].mul_(share)
            elif name.startswith("head.4."):
                weight.mul_(share)

    def encode(self, window: Window) -> Tensor:
        """Latent [B, D] at the end of the window."""
        return self.encode_rows(window.values, window.mask)

    def encode_rows(self, values_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
        """The same from bare tensors."""
        return self.encode_filled(forward_fill(values_BLC, mask_BLC), mask_BLC)

    def encode_filled(self, filled_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
        """The same from rows whose gaps are filled already; the mask still tells the network where they were."""
        s_BS = self.encoder(encoder_input(filled_BLC, mask_BLC))
        return torch.cat([self.window_state(filled_BLC, mask_BLC), s_BS], dim=-1)

    def window_state(self, filled_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
        """The state without the network at the end of rows whose gaps are filled, [B, N]; from missing CVs the filter
        learns nothing."""
        inputs = torch.cat([self.mv_at, self.dv_at])
        rows = filled_BLC[:, :1] if self.config.filtered else filled_BLC[:, -self.config.lags - 1 :]
        seen = rows.index_select(2, torch.cat([inputs, self.cv_at]))
        x_BN = torch.einsum("blc,lcn->bn", seen, self.to_state) + self.state_bias
        if not self.config.filtered:
            return x_BN
        v_BLV = filled_BLC.index_select(2, inputs)
        y_BLY, good_BLY = filled_BLC.index_select(2, self.cv_at), mask_BLC.index_select(2, self.cv_at)
        for row in range(1, self.rows):
            x_BN = self.state_step(x_BN, v_BLV[:, row])
            e_BY = (y_BLY[:, row] - x_BN @ self.C.T - self.offset) * good_BLY[:, row]
            x_BN = x_BN + e_BY @ self.K.T
        return x_BN

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one row later, [B, D]."""
        states = self.config.state
        x_BN, s_BS = z_BD[..., :states], z_BD[..., states:]
        v_BV = torch.cat([u_BU, d_BV], dim=-1)
        dz_BD: Tensor = self.predictor(torch.cat([z_BD, v_BV], dim=-1))
        dx_BN, ds_BS = dz_BD[..., :states], dz_BD[..., states:]
        return torch.cat([self.state_step(x_BN, v_BV) + dx_BN, torch.sigmoid(self.decay) * s_BS + ds_BS], dim=-1)

    def state_step(self, x_BN: Tensor, v_BV: Tensor) -> Tensor:
        """State one row later without the network, [B, N], from the inputs [B, U + V]."""
        x_next = x_BN @ self.A.T + v_BV @ self.B.T + self.bias
        return x_next + self.products(x_BN, v_BV) if self.config.products else x_next

    def products(self, x_BN: Tensor, v_BV: Tensor) -> Tensor:
        """What products of bounded states and inputs add to the state, [B, N]."""
        h_BQ = torch.tanh(self.rate * (torch.cat([x_BN, v_BV], dim=-1) - self.centre))
        pull_BNQ = (h_BQ @ self.quadratic.flatten(0, 1).T).view(*h_BQ.shape[:-1], *self.slope.shape) + self.slope
        return torch.einsum("...nq,...q->...n", pull_BNQ, h_BQ) + self.rest

    def free_run(self, z_BD: Tensor, u_BKU: Tensor, d_BKV: Tensor) -> tuple[Tensor, Tensor]:
        """K steps at once: latents [B, K, D], and what the network added to the state of each, [B, K, N]."""
        states, latent = self.config.state, self.latent_size
        (w1, b1), (w2, b2), (w3, b3) = self.predictor.layers()
        v_KBV = torch.cat([u_BKU, d_BKV], dim=-1).transpose(0, 1)
        push_KBH = nn.functional.linear(v_KBV.to(w1.dtype), w1[:, latent:], b1)
        drive_KBN = nn.functional.linear(v_KBV, self.B, self.bias)
        curves: tuple[Tensor, ...] = ()
        if self.config.products:
            drive_KBN = drive_KBN + self.rest
            inputs_KBV = torch.tanh(self.rate[states:] * (v_KBV - self.centre[states:]))
            curves = (inputs_KBV, self.rate[:states], self.centre[:states], self.quadratic, self.slope)
        drive_KBD = nn.functional.pad(drive_KBN, (0, latent - states)) + b3.to(drive_KBN.dtype)
        linear_DD = torch.block_diag(self.A, torch.sigmoid(self.decay).diag())  # type: ignore[no-untyped-call]
        weights = (w1[:, :latent], w2, b2, w3, linear_DD)
        z_KBD, last_KBH = FreeRun.apply(z_BD, push_KBH, *weights, drive_KBD, *curves)  # type: ignore[no-untyped-call]
        added_KBN = nn.functional.linear(last_KBH, w3[:states], b3[:states]).to(z_KBD.dtype)
        return z_KBD.transpose(0, 1), added_KBN.transpose(0, 1)

    def read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y]."""
        return self.linear_read_out(z_BD) + self.bend(z_BD)

    def linear_read_out(self, z_BD: Tensor) -> Tensor:
        """CVs [B, Y] by the linear state alone."""
        return z_BD[..., : self.config.state] @ self.C.T + self.offset

    def bend(self, z_BD: Tensor) -> Tensor:
        """What the network adds to them, [B, Y]."""
        added: Tensor = self.head(z_BD)
        return added
