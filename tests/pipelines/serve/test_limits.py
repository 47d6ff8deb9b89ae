"""Whom the service answers: tokens, addresses, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mri_transfer.errors import ConfigurationError
from pipelines.serve import demand_token, read_token
from pipelines.serve.limits import LOOPBACK_NAMES, allowed_hosts
from tests.pipelines.conftest import run_command


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    demand_token(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "scans.example", ""])
def test_other_machines_need_one(host: str) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        demand_token(host, None)
    demand_token(host, "a-token-of-twenty-letters")


def test_the_command_does_not_start_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("serve", str(tmp_path), "--host", "0.0.0.0") == 2
    assert "--token-file" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "short", "two words " * 5, "ä" * 30, "x" * 2000])
def test_a_poor_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read_token(path)


def test_a_token_is_the_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-twenty-letters\n")
    assert read_token(path) == "a-token-of-twenty-letters"


def test_names_are_those_of_this_machine_or_those_given() -> None:
    assert allowed_hosts("127.0.0.1", ()) == LOOPBACK_NAMES
    assert allowed_hosts("0.0.0.0", ()) == ()
    assert allowed_hosts("0.0.0.0", ("Scans.example",)) == ("scans.example", *LOOPBACK_NAMES)
