"""Names and passwords: from the environment or a file of their own, never from the plant file, never in a message."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import model_validator

from procmodel.errors import HistorianError
from procmodel.plant.tag import Frozen, MisfitError

_PARTS = ("user", "password", "token")


class CredentialOptions(Frozen):
    """Where the credentials are; one of the two.

    Attributes:
        env: Beginning of environment variables: with PI they are PI_USER and PI_PASSWORD, or PI_TOKEN.
        file: File with lines such as `user = reader` and `password = ...`, or `token = ...`.
    """

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise MisfitError((), "needs either env (the beginning of environment variables) or file, one of the two.")
        return self


@dataclass(frozen=True, kw_only=True)
class Secret:
    """What a server wants to hear. Nothing of it is in its `repr`."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, options: CredentialOptions | None) -> Secret:
        """The credentials that the options point to; empty where they point nowhere.

        Raises:
            HistorianError: nothing is there, or not what is needed.
        """
        if options is None:
            return cls()
        if options.env is not None:
            found = {part: os.environ.get(f"{options.env}_{part.upper()}") for part in _PARTS}
            needed = f"the environment variables {options.env}_USER and {options.env}_PASSWORD, or {options.env}_TOKEN"
        else:
            found = _written(Path(options.file or ""))
            needed = f"lines 'user = ...' and 'password = ...', or 'token = ...', in {options.file}"
        if not found.get("token") and not (found.get("user") and found.get("password")):
            raise HistorianError(f"history.options.credentials: no credentials found. Set {needed}.")
        return cls(user=found.get("user"), password=found.get("password"), token=found.get("token"))

    def header(self, token_word: str = "Bearer") -> dict[str, str]:
        """The HTTP header `Authorization`; empty where there are no credentials."""
        if self.token:
            return {"Authorization": f"{token_word} {self.token}"}
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def hidden(self, text: str) -> str:
        """A message without password and token: some servers repeat what they were sent."""
        for part in (self.password, self.token):
            text = text.replace(part, "***") if part else text
        return text


def _written(file: Path) -> dict[str, str | None]:
    try:
        lines = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise HistorianError(f"history.options.credentials.file: {file} cannot be read: {reason}.") from error
    found: dict[str, str | None] = {}
    for line in lines:
        name, sign, value = line.partition("=")
        if sign and name.strip() in _PARTS:
            found[name.strip()] = value.strip()
    return found
