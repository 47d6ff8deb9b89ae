"""TuningSpec: how much of a trunk is trained inside a fold, and how. It needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.models.trunks import INPUT, TRUNKS, TrunkSpec, untrained

__all__ = ["TuningSpec", "cut_of", "frozen_stages", "source_trunk"]

Strategy = Literal["frozen", "some", "most", "all"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TuningSpec:
    """How much of the trunk is trained inside each fold, and how."""

    strategy: Strategy = "frozen"
    """`frozen`: features of the trunk as released; `some`: the last stage is trained; `most`: all
    but the first third of the stages; `all`: every stage."""
    method: Literal["full", "ssf", "norm", "lora", "parallel"] = "full"
    """What of the thawed stages is trained. `full`: every parameter; `ssf`: a scale and a shift of
    each convolution's channels; `norm`: the affine parameters of normalisation layers; `lora`: an
    update of low rank of each convolution's kernel; `parallel`: the same of its middle alone, which
    is a convolution of 1 x 1 pixels beside it."""
    start: Literal["imagenet", "random"] = "imagenet"
    """`imagenet`: the trunk's released weights; `random`: untrained ones, so that the architecture
    alone is transferred (needs `strategy = "all"` and `method = "full"`)."""
    head_first: bool = True
    """Fit a linear head to the untuned features before any stage is thawed (linear probing, then
    fine-tuning); otherwise it starts from zero. Without effect on `start = "random"`."""
    epochs: int = Field(default=10, ge=1)
    batch_scans: int = Field(default=8, ge=1)
    """Scans in a batch."""
    slices_per_scan: int = Field(default=8, ge=1)
    """Slices of a scan in a batch, one drawn from each of so many parts of equal height."""
    loss: Literal["patient", "slice"] = "patient"
    """`patient`: cross-entropy of the mean log-odds of a scan's slices in the batch; `slice`: of
    each slice with its patient's label. Labels weigh the same in sum, and so do patients of a
    label."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """`sgd`: with a momentum of 0.9."""
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Of the last stage. `auto`: 0.0001 where every parameter is trained, 0.001 where few are; with
    `sgd` a hundred times as much."""
    head_learning_rate: float = Field(default=1e-3, gt=0)
    """Of the linear head that is trained with the stages."""
    layer_decay: float = Field(default=0.7, gt=0, le=1)
    """Factor of the learning rate from each stage to the one before it."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """How learning rates fall. `cosine`: along half a cosine over all epochs; `plateau`: whenever
    the loss of training patients has stopped falling. It is theirs, as a fit on all of them holds
    nobody out by whom rates could be steered."""
    plateau_patience: int = Field(default=2, ge=0)
    """Epochs without a lower loss that `schedule = "plateau"` waits for."""
    plateau_factor: float = Field(default=0.1, gt=0, lt=1)
    """What learning rates are multiplied by then."""
    unfreeze: Literal["together", "by_stage"] = "together"
    """`by_stage`: the last stage is thawed first, the others one after another at equal intervals
    over the epochs (gradual unfreezing)."""
    l2_sp: float = Field(default=0.01, ge=0)
    """Weight of half the squared distance from the starting weights (L2-SP) in the loss."""
    ewc: float = Field(default=0.0, ge=0)
    """Where a bundle's tail is trained further with new patients (`retrain --from --mode tune`):
    weight of half the squared distance from the bundle's weights, each weighed by how much the old
    patients' loss depends on it (elastic weight consolidation, by the diagonal of the empirical
    Fisher information). It needs the old patients. Refused in a run, which has none."""
    rehearsal: float = Field(default=0.0, ge=0, le=1)
    """There too: share of the old patients, of each label alike, who are trained on again among
    the new ones."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of weights towards zero; biases and normalisation are left out."""
    norm_moments: Literal["frozen", "adapt"] = "frozen"
    """Whether moments of batch normalisation in thawed stages follow the training slices."""
    rank: int = Field(default=4, ge=1)
    """Of the updates of `method = "lora"` and `"parallel"`."""
    patience: int = Field(default=3, ge=0)
    """Epochs without a better inner figure after which an inner fit stops; 0: no early stopping,
    the last epoch is used."""
    stop_on: Literal["log_loss", "auc"] = "log_loss"
    """The figure of inner held-out patients that chooses the number of epochs; 0 epochs, the
    untuned trunk, are among the choices except with random weights."""
    inner_folds: int = Field(default=2, ge=2)
    """Folds inside the training patients, in place of `folds.n_inner_folds`: each trains a tail of
    its own."""

    @property
    def rate(self) -> float:
        """The learning rate of the last stage, never `auto`."""
        if self.learning_rate != "auto":
            return self.learning_rate
        return (1e-4 if self.method == "full" else 1e-3) * (100 if self.optimiser == "sgd" else 1)

    @property
    def trains(self) -> bool:
        """Whether any stage is trained."""
        return self.strategy != "frozen"

    def rate_of(self, depth: int) -> float:
        """Return the learning rate of the stage that lies so many before the last one."""
        return self.rate * self.layer_decay**depth

    def thawed_after(self, depth: int, n_stages: int) -> int:
        """Return after how many epochs that stage of so many thawed ones begins to learn."""
        return depth * self.epochs // n_stages if self.unfreeze == "by_stage" else 0

    @model_validator(mode="after")
    def _demand_whole(self) -> Self:
        if self.start == "random" and (self.strategy, self.method) != ("all", "full"):
            raise ValueError(
                'start = "random" needs strategy = "all" and method = "full": stages that stay '
                "frozen would never learn anything"
            )
        return self


def frozen_stages(strategy: Strategy, stages: Sequence[str]) -> int:
    """Return how many of a trunk's stages stay frozen.

    Parameters
    ----------
    strategy : str
        A value of `TuningSpec.strategy`.
    stages : sequence of str
        The stages that are used, in the network's order.
    """
    n = len(stages)
    return {"frozen": n, "some": n - 1, "most": -(-n // 3), "all": 0}[strategy]


def source_trunk(trunk: TrunkSpec, tuning: TuningSpec) -> TrunkSpec:
    """Return the trunk whose weights tails start from: an untrained one where that is asked for."""
    return untrained(trunk) if tuning.start == "random" else trunk


def cut_of(trunk: TrunkSpec, tuning: TuningSpec) -> str:
    """Return the last frozen stage, or `INPUT` where every stage is trained."""
    stages = TRUNKS[trunk.name].stages
    used = stages[: stages.index(trunk.layer) + 1]
    n_frozen = frozen_stages(tuning.strategy, used)
    return used[n_frozen - 1] if n_frozen else INPUT
