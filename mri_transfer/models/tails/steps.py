"""Optimisation of a tail: which parameters move, at what rate, and how far they may go."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mri_transfer.models.tails.spec import TuningSpec

__all__ = ["Optimisation"]

_MOMENTUM = 0.9


class Optimisation:
    """The optimiser with its groups of parameters, one a stage and kind, and the head's.

    Rates fall from the last stage to the first by `layer_decay`, and all of them by the schedule.
    Biases and normalisation do not decay towards zero.

    Parameters
    ----------
    stages : Sequential
        Named stages; what is to be trained asks for gradients.
    head : list of Parameter
    spec : TuningSpec
    n_steps : int
        Of all epochs.
    importance : mapping of str to Tensor, optional
        What `ewc` weighs the way of each parameter by, by its name in `stages`.
    """

    def __init__(
        self,
        stages: torch.nn.Sequential,
        head: list[torch.nn.Parameter],
        spec: TuningSpec,
        *,
        n_steps: int,
        importance: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self._spec, self._n_steps, self._step = spec, n_steps, 0
        #: Parameters of each stage, from the last one back.
        self._stages = [
            [p for p in stage.parameters() if p.requires_grad] for stage in reversed(list(stages))
        ]
        groups = [{"params": head, "rate": spec.head_learning_rate, "weight_decay": 0.0}]
        for depth, parameters in enumerate(self._stages):
            rate = spec.rate_of(depth)
            for decays in (True, False):
                own = [p for p in parameters if (p.ndim > 1) == decays]
                decay = spec.weight_decay if decays else 0.0
                groups.append({"params": own, "rate": rate, "weight_decay": decay})
        used = [{**group, "lr": group["rate"]} for group in groups if group["params"]]
        if spec.optimiser == "adamw":
            self._optimiser: torch.optim.Optimizer = torch.optim.AdamW(used)
        else:
            self._optimiser = torch.optim.SGD(used, lr=1.0, momentum=_MOMENTUM)
        self._plateau = (
            ReduceLROnPlateau(
                self._optimiser, factor=spec.plateau_factor, patience=spec.plateau_patience
            )
            if spec.schedule == "plateau"
            else None
        )
        self._start = [
            [parameter.detach().clone() for parameter in parameters] for parameters in self._stages
        ]
        #: How strongly each parameter is pulled to its start; one number, or one for each weight.
        self._pull = self._pulls(dict(stages.named_parameters()), importance)

    def begin_epoch(self, epoch: int) -> None:
        """Thaw the stages whose turn it is.

        Parameters
        ----------
        epoch : int
            From 0 up.
        """
        for depth, parameters in enumerate(self._stages):
            waits = self._spec.thawed_after(depth, len(self._stages))
            for parameter in parameters:
                parameter.requires_grad_(epoch >= waits)

    def _pulls(
        self, named: Mapping[str, torch.Tensor], importance: Mapping[str, torch.Tensor] | None
    ) -> list[list[torch.Tensor | float]]:
        if importance is None or not self._spec.ewc:
            return [[self._spec.l2_sp] * len(parameters) for parameters in self._stages]
        weighed = {
            id(named[name]): self._spec.l2_sp + self._spec.ewc * values.to(named[name])
            for name, values in importance.items()
        }
        return [[weighed[id(p)] for p in parameters] for parameters in self._stages]

    def step(self, loss: torch.Tensor) -> None:
        """Take one step down the loss and the penalties of the way from the start.

        These are L2-SP's (Li et al. 2018, ICML) and that of elastic weight consolidation
        (Kirkpatrick et al. 2017, PNAS 114:3521-3526).
        """
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameters, start, pulls in zip(self._stages, self._start, self._pull, strict=True):
            for parameter, before, pull in zip(parameters, start, pulls, strict=True):
                if parameter.grad is None:
                    continue
                way = parameter.detach() - before
                if isinstance(pull, torch.Tensor):
                    parameter.grad.add_(way * pull)
                elif pull:
                    parameter.grad.add_(way, alpha=pull)
        if self._plateau is None:
            for group in self._optimiser.param_groups:
                group["lr"] = group["rate"] * self._factor()
        self._optimiser.step()
        self._step += 1

    def end_epoch(self, loss: float) -> None:
        """Lower the rates if the schedule waits for a plateau and this is one.

        Parameters
        ----------
        loss : float
            Mean over the epoch's batches.
        """
        if self._plateau is not None:
            self._plateau.step(loss)

    def _factor(self) -> float:
        if self._spec.schedule == "constant":
            return 1.0
        return 0.5 * (1.0 + math.cos(math.pi * self._step / self._n_steps))

    def distances(self) -> list[float]:
        """Return how far each stage went from its start, over the start's norm, first stage first.

        Of a stage whose parameters start at zero it is the distance itself.
        """
        found = []
        for parameters, start in zip(reversed(self._stages), reversed(self._start), strict=True):
            moved = sum(
                float((p.detach() - s).double().square().sum())
                for p, s in zip(parameters, start, strict=True)
            )
            size = sum(float(s.double().square().sum()) for s in start)
            found.append(math.sqrt(moved) / (math.sqrt(size) or 1.0))
        return found
