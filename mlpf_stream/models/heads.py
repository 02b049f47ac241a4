"""From embeddings to predictions, from predictions to candidates, and targets for training.

The network corrects the element: it predicts log(pt / pt of the element), log(E / E of the
element) and differences of eta, sin phi and cos phi, in the order of `columns.MOMENTUM`. It starts
at zero, so that its first candidate is the element itself.

Shape letters: T packed rows, D embedding width, K classes, Q charges (-1, 0, +1), M momentum
columns, F features of the widest kind.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpf_stream.columns import CLASSES, CLUSTER, HIT, MOMENTUM, TRACK, ElementKind
from mlpf_stream.models.initial import spread
from mlpf_stream.models.norm import RmsNorm
from mlpf_stream.models.precision import full_precision

CHARGES = 3
"""Charge logits are for -1, 0, +1."""

_REFERENCE: dict[ElementKind, tuple[str, ...]] = {
    TRACK: ("pt", "eta", "sin_phi", "cos_phi", "p"),
    CLUSTER: ("et", "eta", "sin_phi", "cos_phi", "energy"),
    HIT: ("et", "eta", "sin_phi", "cos_phi", "energy"),
}
"""Columns of each kind that a momentum is measured against, in the order of MOMENTUM."""

_CHARGED = ("charged_hadron", "electron", "muon")
_MAX_SHIFT = 5.0  # a candidate has at most e^5 times the energy of its element, or as much less,
_MAX_HIT_SHIFT = 8.0  # on a hit e^8: the hardest hit of a shower holds a small part of its energy
_MAX_ETA = 10.0
_MIN_ENERGY, _MAX_ENERGY = 1e-3, 1e6  # GeV, of the element
_LOG_COLUMNS = torch.tensor([name in {"pt", "energy"} for name in MOMENTUM])


class Prediction(NamedTuple):
    """Logits of class and charge, and the momentum relative to the element."""

    logits_TK: Tensor
    charge_TQ: Tensor
    momentum_TM: Tensor


class Candidates(NamedTuple):
    """One candidate per row: class index (0: none), charge [e], momentum as in MOMENTUM [GeV]."""

    class_T: Tensor
    charge_T: Tensor
    momentum_TM: Tensor


class Head(nn.Module):
    """Shared trunk, then one linear layer for class, charge and momentum."""

    def __init__(self, width: int, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        self.norm = RmsNorm(width)
        self.trunk = nn.Linear(width, width)
        self.out = nn.Linear(width, len(CLASSES) + CHARGES + len(MOMENTUM))
        spread(self.trunk)
        spread(self.out)
        with torch.no_grad():
            self.out.weight[len(CLASSES) + CHARGES :] = 0.0
            if prior is not None:
                self.out.bias[: len(CLASSES)] = torch.tensor(prior).clamp(min=1e-4).log()

    def forward(self, x_TD: Tensor) -> Prediction:
        """Return the prediction of every row, always float32."""
        trunk_TD = nn.functional.gelu(self.trunk(self.norm(x_TD)))
        with full_precision(x_TD):
            out_TN = self.out(trunk_TD.float())
        return Prediction(*out_TN.split([len(CLASSES), CHARGES, len(MOMENTUM)], dim=1))


def reference(x_TF: Tensor, kind_T: Tensor) -> Tensor:
    """Return the element's own momentum in the columns of MOMENTUM, shape (T, M).

    Energies are bounded to 1 MeV .. 1 PeV, so that logarithms of ratios are finite.
    """
    reference_TM = x_TF.new_zeros(x_TF.shape[0], len(MOMENTUM))
    for kind, names in _REFERENCE.items():
        if kind.width > x_TF.shape[1]:
            continue
        own_TM = torch.stack([x_TF[:, kind.index(name)] for name in names], dim=1)
        reference_TM = torch.where((kind_T == kind.code)[:, None], own_TM, reference_TM)
    log_M = _LOG_COLUMNS.to(x_TF.device)
    return torch.where(log_M, reference_TM.clamp(_MIN_ENERGY, _MAX_ENERGY), reference_TM)


def momentum_targets(momentum_TM: Tensor, x_TF: Tensor, kind_T: Tensor) -> Tensor:
    """Return what the network shall predict for target momenta, shape (T, M).

    Within +-5, on hits +-8.
    """
    reference_TM = reference(x_TF, kind_T)
    log_M = _LOG_COLUMNS.to(x_TF.device)
    ratio_TM = momentum_TM.clamp(min=1e-6) / reference_TM.clamp(min=_MIN_ENERGY)
    shift_TM = torch.where(log_M, ratio_TM.log(), momentum_TM - reference_TM)
    return _bounded(shift_TM, kind_T)


@torch.no_grad()
def decode(prediction: Prediction, x_TF: Tensor, kind_T: Tensor) -> Candidates:
    """Return physical candidates: finite whatever the logits, |charge| 1 if the class is charged.

    sin phi and cos phi are normalised; a row of class none has charge 0.
    """
    class_T = prediction.logits_TK.argmax(dim=1)
    charged_K = torch.tensor([name in _CHARGED for name in CLASSES], device=class_T.device)
    minus_T, _, plus_T = prediction.charge_TQ.unbind(1)
    sign_T = torch.where(plus_T >= minus_T, 1, -1)
    charge_T = torch.where(charged_K[class_T], sign_T, 0)
    reference_TM = reference(x_TF, kind_T)
    shift_TM = _bounded(torch.nan_to_num(prediction.momentum_TM), kind_T)
    log_M = _LOG_COLUMNS.to(x_TF.device)
    moved_TM = torch.where(log_M, reference_TM * shift_TM.exp(), reference_TM + shift_TM)
    pt_T, eta_T, sin_T, cos_T, energy_T = moved_TM.unbind(1)
    eta_T = eta_T.clamp(-_MAX_ETA, _MAX_ETA)
    sin_T, cos_T = _unit(sin_T, cos_T)
    momentum_TM = torch.stack([pt_T, eta_T, sin_T, cos_T, energy_T], dim=1)
    return Candidates(class_T, charge_T, momentum_TM)


def _bounded(shift_TM: Tensor, kind_T: Tensor) -> Tensor:
    """Hold shifts within what a kind allows."""
    on_hit_T1 = (kind_T == HIT.code)[:, None]
    held_TM = shift_TM.clamp(-_MAX_SHIFT, _MAX_SHIFT)
    return torch.where(on_hit_T1, shift_TM.clamp(-_MAX_HIT_SHIFT, _MAX_HIT_SHIFT), held_TM)


def _unit(sin_T: Tensor, cos_T: Tensor) -> tuple[Tensor, Tensor]:
    """Return sine and cosine on the unit circle; (0, 1) where both vanish."""
    sin_T, cos_T = sin_T.clamp(-1e3, 1e3), cos_T.clamp(-1e3, 1e3)
    length_T = torch.hypot(sin_T, cos_T)
    vanishes_T = length_T < 1e-6
    length_T = length_T.clamp(min=1e-6)
    return (
        torch.where(vanishes_T, 0.0, sin_T / length_T),
        torch.where(vanishes_T, 1.0, cos_T / length_T),
    )
