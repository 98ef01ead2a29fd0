"""Credentials come from the environment or a file of their own, and are seen in no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.credentials import CredentialOptions, Secret
from connectors.server_options import ServerOptions
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant.checks import checked_options


def test_user_and_password_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PI_USER", "reader")
    monkeypatch.setenv("PI_PASSWORD", "hush")
    secret = Secret.of(CredentialOptions(env="PI"))
    assert secret.header() == {"Authorization": "Basic cmVhZGVyOmh1c2g="}
    assert "hush" not in repr(secret)
    assert secret.hidden("cannot log in with hush") == "cannot log in with ***"


def test_a_token_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("# of the reader\ntoken = abc=def\n")
    secret = Secret.of(CredentialOptions(file=str(tmp_path / "secret")))
    assert secret.header() == {"Authorization": "Bearer abc=def"}


def test_nothing_is_told_where_nothing_is_named() -> None:
    assert Secret.of(None).header() == {}


def test_missing_credentials_name_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match="Set the environment variables NO_SUCH_USER and NO_SUCH_PASSWORD, or"):
        Secret.of(CredentialOptions(env="NO_SUCH"))
    with pytest.raises(HistorianError, match="cannot be read: No such file"):
        Secret.of(CredentialOptions(file=str(tmp_path / "none")))
    (tmp_path / "half").write_text("user = reader\n")
    with pytest.raises(HistorianError, match=r"lines 'user = \.\.\.' and 'password = \.\.\.'"):
        Secret.of(CredentialOptions(file=str(tmp_path / "half")))


def test_a_password_in_the_plant_file_is_refused() -> None:
    with pytest.raises(PlantFileError, match="unknown key 'password'"):
        checked_options(ServerOptions, {"credentials": {"password": "hush"}})
    with pytest.raises(PlantFileError, match=r"needs either env .* or file"):
        checked_options(ServerOptions, {"credentials": {}})
