"""A hub that does not answer is asked once, and what was downloaded before is used without it."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from torchvision.models import AlexNet_Weights

from mri_transfer.errors import WeightsError
from mri_transfer.models.trunks import TRUNKS, hub

MODEL = "squeezenet1_1"


def _no_network(*_args: object, **_options: object) -> None:
    raise OSError("Name or service not known\nmore lines")


def test_a_hub_that_does_not_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def refuse(url: str, **options: object) -> None:
        asked.append(options["timeout"])
        _no_network()

    def download(*_args: object, **_options: object) -> None:
        raise AssertionError("the library's own download waits for a minute")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(timm, "create_model", download)
    with pytest.raises(WeightsError) as caught:
        TRUNKS["resnet18"].find_weights(path=None, cache=tmp_path, digest="")
    assert asked == [hub._ANSWER_S]
    message = str(caught.value)
    assert "does not answer" in message
    assert "Name or service not known" in message
    assert "more lines" not in message
    assert "--weights PATH" in message
    assert "random" in message


def test_what_was_downloaded_before_needs_no_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = timm.create_model("test_vit", pretrained=False)
    file = tmp_path / "pytorch_model.bin"
    torch.save(before.state_dict(), file)
    found = {"pytorch_model.bin": str(file)}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda _, name: found.get(name))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", _no_network)
    again = hub.downloaded_timm_model("test_vit").state_dict()
    for name, numbers in before.state_dict().items():
        torch.testing.assert_close(again[name], numbers)


def test_torchvisions_hub_is_asked_with_a_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    waited = []

    def refuse(_request: object, *, timeout: float) -> None:
        waited.append(timeout)
        _no_network()

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(WeightsError, match="does not answer"):
        hub.downloaded_torchvision_state(str(AlexNet_Weights.IMAGENET1K_V1))
    assert waited == [hub._ANSWER_S]
