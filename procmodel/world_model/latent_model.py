"""The learned world model: a joint-embedding predictor around a linear innovations state.

The latent is `z = [x, s]`: x, the linear state that least squares found, with products of states and inputs where the
record shows that it curves, and whose part of the answer to a move is kept; s, learned by predicting the encoding of
the future. A network, zero at the start of training, adds what they miss. Why: docs/closed-loop-data.md.

Shapes: B batch, L rows of history, C tags, D = N + S latent, N linear states, S learned, U MVs, V DVs, Y CVs,
Q = N + U + V coordinates of the products. Scaled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from procmodel.data.window import Columns, Window
from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import Products


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a latent model.

    Attributes:
        rows: L, history rows the encoder reads.
        lags: Rows of it that the linear state reads.
        state: N. latent: S. hidden: Width of the hidden layers.
        products: Whether products stand beside the linear state; no model of 0.1 has them.
    """

    columns: Columns
    rows: int
    lags: int
    state: int
    latent: int
    hidden: int
    products: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        columns: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["columns"].items()}
        return cls(**{**data, "columns": Columns(**columns)})


def forward_fill(values_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
    """Gaps take the last good value before them, leading gaps the first after; a tag with none at all its mean, 0."""
    first = torch.zeros(1, dtype=torch.int64, device=values_BLC.device)
    return filled_windows(values_BLC, mask_BLC, first, values_BLC.shape[1])[:, 0]


def filled_windows(values_BTC: Tensor, mask_BTC: Tensor, offsets_J: Tensor, length: int) -> Tensor:
    """Windows of `length` rows that begin `offsets_J` rows into the batch, each filled from its own rows alone as
    `forward_fill` says, [B, J, length, C]. Overlapping windows share the search for good rows."""
    count = values_BTC.shape[1]
    rows = torch.arange(count, device=values_BTC.device)
    good = mask_BTC > 0
    last_BTC = torch.where(good, rows[:, None], -1).cummax(dim=1).values
    next_BTC = torch.where(good, rows[:, None], count).flip(1).cummin(dim=1).values.flip(1)
    begin_J11 = offsets_J.to(rows.device)[:, None, None]
    first = next_BTC[:, offsets_J].unsqueeze(2)
    at = last_BTC[:, offsets_J[:, None] + torch.arange(length, device=offsets_J.device)]
    at = torch.where(at >= begin_J11, at, first).clamp_max(count - 1)
    found = values_BTC.gather(1, at.flatten(1, 2)).view(at.shape)
    return torch.where(first < begin_J11 + length, found, 0.0)


def mlp(inputs: int, hidden: int, outputs: int, *, zero: bool) -> nn.Sequential:
    """Two hidden layers of tanh: smooth, since the optimizer differentiates; bounded, so that far from the data the
    linear part decides."""
    last = nn.Linear(hidden, outputs)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last)


def encoder_input(filled_BLC: Tensor, mask_BLC: Tensor) -> Tensor:
    """What the encoder's first layer reads of a window: values with their gaps filled, and where the gaps were."""
    return torch.cat([filled_BLC, mask_BLC], dim=-1).flatten(1)


class LatentModel(nn.Module):
    """`encode`, `step` and `read_out` of `WorldModel`; trained by `procmodel.training`."""

    A: Tensor
    B: Tensor
    C: Tensor
    bias: Tensor
    offset: Tensor
    to_state: Tensor
    state_bias: Tensor
    centre: Tensor
    rate: Tensor
    quadratic: Tensor
    slope: Tensor
    rest: Tensor

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
            "to_state": (config.lags + 1, inputs + cvs, n), "state_bias": (n,),
            **(curved if config.products else {}),
        }.items():  # fmt: skip
            self.register_buffer(name, torch.zeros(shape))
        self.encoder = mlp(config.rows * columns.count * 2, hidden, s, zero=False)
        self.predictor = mlp(n + s + inputs, hidden, n + s, zero=True)
        self.decay = nn.Parameter(torch.full((s,), 3.0))  # sigmoid(3) = 0.95 a row: plants are slow
        self.head = mlp(n + s, hidden, cvs, zero=True)

    def start_from(self, linear: LinearState) -> None:
        """Take the linear state as the backbone."""
        pairs = {
            "A": linear.A, "B": linear.B, "C": linear.C, "bias": linear.bias, "offset": linear.offset,
            "to_state": linear.encoder, "state_bias": linear.encoder_bias,
        }  # fmt: skip
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
        columns = self.config.columns
        seen = filled_BLC[:, -self.config.lags - 1 :, [*columns.mv, *columns.dv, *columns.cv]]
        x_BN = torch.einsum("blc,lcn->bn", seen, self.to_state) + self.state_bias
        s_BS = self.encoder(encoder_input(filled_BLC, mask_BLC))
        return torch.cat([x_BN, s_BS], dim=-1)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        """Latent one row later, [B, D]."""
        return self.advance(z_BD, u_BU, d_BV)[0]

    def advance(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> tuple[Tensor, Tensor]:
        """Latent one row later, [B, D], and what the network added to its state, [B, N]."""
        states = self.config.state
        x_BN, s_BS = z_BD[..., :states], z_BD[..., states:]
        v_BV = torch.cat([u_BU, d_BV], dim=-1)
        dz_BD: Tensor = self.predictor(torch.cat([z_BD, v_BV], dim=-1))
        dx_BN, ds_BS = dz_BD[..., :states], dz_BD[..., states:]
        return torch.cat([self.state_step(x_BN, v_BV) + dx_BN, torch.sigmoid(self.decay) * s_BS + ds_BS], dim=-1), dx_BN

    def state_step(self, x_BN: Tensor, v_BV: Tensor) -> Tensor:
        """State one row later without the network, [B, N], from the inputs [B, U + V]."""
        x_next = x_BN @ self.A.T + v_BV @ self.B.T + self.bias
        return x_next + self.products(x_BN, v_BV) if self.config.products else x_next

    def products(self, x_BN: Tensor, v_BV: Tensor) -> Tensor:
        """What products of bounded states and inputs add to the state, [B, N]."""
        h_BQ = torch.tanh(self.rate * (torch.cat([x_BN, v_BV], dim=-1) - self.centre))
        pull_BNQ = (h_BQ @ self.quadratic.flatten(0, 1).T).view(*h_BQ.shape[:-1], *self.slope.shape) + self.slope
        return torch.einsum("...nq,...q->...n", pull_BNQ, h_BQ) + self.rest

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
