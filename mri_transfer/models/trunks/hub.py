"""Downloads of released weights, which say at once where there is no network.

The libraries' own downloads try again for about a minute, or wait for a connection without a limit.
One question with a time limit comes before them; it goes by the same proxies. What was downloaded
before is found without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_transfer.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["downloaded_timm_model", "downloaded_torchvision_state"]

#: Seconds to wait for an answer.
_ANSWER_S = 5.0
#: Names of a model's weights on the Hugging Face hub, the ones that timm prefers first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def downloaded_timm_model(name: str, **options: Any) -> torch.nn.Module:
    """Return a model of timm with its released weights, downloaded unless they were before.

    Parameters
    ----------
    name : str
        As timm calls it.
    **options
        Of `timm.create_model`.

    Raises
    ------
    WeightsError
        If the hub does not answer, or `HF_HUB_OFFLINE` says not to ask it.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    released = timm.models.get_pretrained_cfg(name)
    if released is None or released.hf_hub_id is None:
        raise WeightsError("timm knows no hub with these weights", where=name)
    repository = str(released.hf_hub_id)
    for file in _HUB_FILES:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            overlay = {"file": cached}
            model: torch.nn.Module = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay, **options
            )
            return model
    try:
        get_hf_file_metadata(hf_hub_url(repository, _HUB_FILES[0]), timeout=_ANSWER_S)
    # The client of the network, which changes between versions, has errors of its own.
    except Exception as error:
        raise WeightsError(
            "the hub does not answer", where=repository, found=_first_line(error)
        ) from error
    model = timm.create_model(name, pretrained=True, **options)
    return model


def downloaded_torchvision_state(weights: str) -> dict[str, torch.Tensor]:
    """Return released weights of torchvision, downloaded unless they were before.

    Parameters
    ----------
    weights : str
        As torchvision calls them, such as `VGG16_Weights.IMAGENET1K_FEATURES`.

    Raises
    ------
    WeightsError
        If the hub does not answer.
    """
    import urllib.request

    from torch import hub
    from torchvision.models import get_weight

    release = get_weight(weights)
    cached = Path(hub.get_dir()) / "checkpoints" / release.url.rpartition("/")[2]
    if not cached.is_file():
        request = urllib.request.Request(release.url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_ANSWER_S).close()
        except OSError as error:
            raise WeightsError(
                "the hub does not answer", where=release.url, found=_first_line(error)
            ) from error
    state: dict[str, torch.Tensor] = release.get_state_dict(progress=False, check_hash=True)
    return state


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
