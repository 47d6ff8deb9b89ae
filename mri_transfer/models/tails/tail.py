"""Tail: the stages behind the cut as a fold trained them, and the source that they start from."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter, ValidationError

from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.core.specs import spec_dict
from mri_transfer.core.tensorfile import described_files, read_tensors, write_tensors
from mri_transfer.core.threads import one_core_each
from mri_transfer.errors import HeadError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.adapters import adapt, merge
from mri_transfer.models.tails.spec import TuningSpec, cut_of
from mri_transfer.models.trunks import (
    INPUT,
    TRUNKS,
    Trunk,
    TrunkNetwork,
    native_precision,
    resolve_device,
)

__all__ = ["Tail", "TailSource"]

FloatArray = npt.NDArray[np.float32]

_SCHEMA = "mri-transfer/tail/1"
#: Slices that pass at once. It is fixed, since rounding depends on it: a scan has the same
#: features wherever they are computed, one scan at a time or many.
_SLICES = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TailSource:
    """The stages behind the cut as every fold finds them. It never changes, and folds share it.

    Attributes
    ----------
    network : TrunkNetwork
        Without a prefix; in single precision.
    precision : {"fp32", "bf16"}
        What products are computed in.
    device : {"cpu", "cuda"}
    cut : str
    weights_digest : str
        Of the whole trunk's weights.
    """

    network: TrunkNetwork
    precision: Literal["fp32", "bf16"]
    device: Literal["cpu", "cuda"]
    cut: str
    weights_digest: str

    @classmethod
    def of_trunk(
        cls,
        trunk: Trunk,
        tuning: TuningSpec,
        features: FeatureSpec,
    ) -> Self:
        """Return the source of tails of a trunk.

        Parameters
        ----------
        trunk : Trunk
            In single precision, on a processor; whole, to the stage that is read out.
        tuning : TuningSpec
        features : FeatureSpec
            Its precision and device are what tails compute with.
        """
        device = resolve_device(features.device)
        precision = features.precision
        cut = cut_of(trunk.spec, tuning)
        whole = trunk.network.prefix
        names = [name for name, _ in whole.named_children()]
        stages = copy.deepcopy(whole[0 if cut == INPUT else names.index(cut) + 1 :])
        scaling = TRUNKS[trunk.spec.name].scalings[trunk.spec.input_scaling]
        return cls(
            network=TrunkNetwork(stages, scaling, cut=INPUT).eval(),
            precision=native_precision(device) if precision == "auto" else precision,
            device=device,
            cut=cut,
            weights_digest=trunk.weights_digest,
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages behind the cut, in the network's order."""
        return tuple(name for name, _ in self.network.tail.named_children())

    def __deepcopy__(self, memo: dict[int, Any]) -> TailSource:
        # Scikit-learn's clones share it.
        return self

    def start(
        self,
        spec: TuningSpec,
        *,
        seed: int = 0,
        tensors: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> TrunkNetwork:
        """Return a network of one's own to train, with the method's parameters in place.

        Parameters
        ----------
        spec : TuningSpec
        seed : int
            Draws the first factors of `lora`.
        tensors : mapping of str to ndarray, optional
            Of a tail that was fitted by the same method, to go on from.

        Raises
        ------
        HeadError
            If they are not those of such a tail.
        """
        network = copy.deepcopy(self.network)
        adapt(network, spec, seed=seed)
        _load(network, tensors or {})
        return network.to(self.device).eval()

    def resume(
        self, stages: TrunkNetwork, kept: torch.Tensor, *, run: Callable[..., Any] = map
    ) -> torch.Tensor:
        """Pass one scan through stages, without gradients.

        Parameters
        ----------
        stages : TrunkNetwork
            On the source's device.
        kept : Tensor
            What lies at the cut, as `TrunkNetwork.resume` takes it.
        run : callable
            `map`, or the same on several threads of one core each.

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
        """

        def passed(part: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode(), self.autocast():
                return stages.resume(part.to(self.device)).float()

        return torch.cat(list(run(passed, torch.split(kept, _SLICES))))

    def autocast(self) -> torch.autocast:
        """Return the context that passes run in."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """A tail as it was fitted: what differs from its source.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        Trained parameters, rounded to half precision, and adapted moments, in single precision;
        none where no epoch was trained.
    spec : TuningSpec
    cut : str
    weights_digest : str
        Of the trunk that it continues.
    source : TailSource, optional
        Needed to apply it.
    """

    tensors: Mapping[str, npt.NDArray[Any]]
    spec: TuningSpec
    cut: str
    weights_digest: str
    source: TailSource | None = None

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the tail computes with: tensors, method, and what it continues."""
        parts = [self.cut, self.weights_digest, self.spec.method, str(self.spec.rank)]
        sha = hashlib.sha256("\n".join(parts).encode())
        for name in sorted(self.tensors):
            values = np.ascontiguousarray(self.tensors[name])
            sha.update(f"{name} {values.dtype.str} {values.shape}".encode())
            sha.update(values.tobytes())
        return sha.hexdigest()

    def with_source(self, source: TailSource) -> Tail:
        """Return the tail ready to be applied.

        Raises
        ------
        HeadError
            If it was trained behind another cut or on another trunk.
        """
        own, given = (self.cut, self.weights_digest), (source.cut, source.weights_digest)
        if own != given:
            raise HeadError(
                "the tail continues another trunk",
                found=f"cut at {given[0]}, weights {given[1][:12]}",
                expected=f"cut at {own[0]}, weights {own[1][:12]}",
            )
        return dataclasses.replace(self, source=source)

    def network(self) -> TrunkNetwork:
        """Return the trained stages, in evaluation mode, on a processor and without gradients.

        Raises
        ------
        HeadError
            If the source is missing, or the tensors are not those of such a tail.
        """
        if self.source is None:
            raise HeadError(
                "a tail cannot be applied without the trunk that it continues", where=self.cut
            )
        network = copy.deepcopy(self.source.network)
        adapt(network, self.spec)
        _load(network, self.tensors)
        return network.eval().requires_grad_(False)

    def weights_by_stage(self) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """Return all weights of each stage behind the cut, trained or not, by stage and name."""
        return {
            name: {key: values.numpy() for key, values in stage.state_dict().items()}
            for name, stage in self.network().tail.named_children()
        }

    def whole(self, trunk: Trunk) -> TrunkNetwork:
        """Return the trunk from grey slices on with this tail in it, in single precision.

        Adapters are merged into the kernels: there are plain layers alone.

        Parameters
        ----------
        trunk : Trunk
            As in `TailSource.of_trunk`.
        """
        stages = OrderedDict(copy.deepcopy(trunk.network.prefix).named_children())
        stages.update(self.network().tail.named_children())
        network = TrunkNetwork(torch.nn.Sequential(stages), trunk.network.scaling)
        merge(network)
        return network.eval()

    def features(
        self, activations: ActivationTable, poolings: Iterable[str]
    ) -> dict[str, FloatArray]:
        """Pass whole scans through the tail; a scan's features owe nothing to other scans.

        Parameters
        ----------
        activations : ActivationTable
            Of the scans, behind the cut.
        poolings : iterable of str

        Returns
        -------
        dict of str to ndarray of float32, shape (n_scans, n_slices, n_features)
            By pooling.
        """
        assert self.source is not None
        source, network = self.source, self.network().to(self.source.device)
        pools = {pooling: PoolMaps(pooling) for pooling in poolings}

        def encode(scan: int) -> dict[str, FloatArray]:
            maps = source.resume(network, activations.read(scan))
            return {name: pool(maps).cpu().numpy() for name, pool in pools.items()}

        with one_core_each(torch.get_num_threads()) as pool:
            encoded = list(pool.map(encode, range(len(activations.files))))
        return {name: np.stack([one[name] for one in encoded]) for name in pools if encoded}

    def write(self, stem: Path) -> None:
        """Write `stem`.safetensors and `stem`.json."""
        arrays, description = described_files(stem)
        write_tensors(arrays, self.tensors, schema=_SCHEMA)
        facts = {"cut": self.cut, "weights": self.weights_digest, "tuning": spec_dict(self.spec)}
        write_json(description, facts)

    @classmethod
    def read(cls, stem: Path) -> Self:
        """Read what `write` wrote; the source is to be added.

        Raises
        ------
        StoreError, HeadError
            If a file is missing or damaged.
        """
        arrays, description = described_files(stem)
        tensors = read_tensors(arrays, schema=_SCHEMA)
        facts = read_json_object(description) or {}
        try:
            return cls(
                tensors=tensors,
                spec=TypeAdapter(TuningSpec).validate_python(facts["tuning"]),
                cut=facts["cut"],
                weights_digest=facts["weights"],
            )
        # The settings may be those of another version.
        except (KeyError, ValidationError) as error:
            raise HeadError("cannot read a tail's description", where=str(description)) from error


def _load(network: TrunkNetwork, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Put a tail's tensors into a network with its method's parameters."""
    state = network.state_dict()
    for name, values in tensors.items():
        if name not in state or state[name].shape != values.shape:
            raise HeadError("not a tensor of this tail", found=f"{name}, {values.shape}")
        state[name].copy_(torch.from_numpy(np.asarray(values)))
