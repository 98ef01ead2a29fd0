"""Settings shared by all connectors that ask a server (`history.options` of the plant file)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from connectors.credentials import CredentialOptions
from procmodel.plant.duration import Duration
from procmodel.plant.tag import Frozen


class CacheOptions(Frozen):
    """Where what was read is kept, so that it is not asked for again.

    Attributes:
        folder: Made where it is missing; `~` and paths relative to where procmodel is started are understood.
        newest: What is younger than this is asked for each time, since late samples may still arrive [s].
    """

    folder: str
    newest: Duration = 86400.0


class ServerOptions(Frozen):
    """How a server is asked.

    Attributes:
        rename: Tag name there -> tag name in the plant file.
        credentials: Where user and password, or a token, are found.
        cache: Where what was read is kept; absent: nowhere, so that an interrupted read begins anew.
        parallel: Requests at one time, at most.
        page: Samples per request; absent: what suits the source.
        timeout: How long one request may take [s].
        attempts: How often a request is sent, at most, where the server cannot answer just now.
    """

    rename: dict[str, str] | None = None
    credentials: CredentialOptions | None = None
    cache: CacheOptions | None = None
    parallel: Annotated[int, Field(ge=1, le=64)] = 4
    page: Annotated[int, Field(ge=1)] | None = None
    timeout: Annotated[Duration, Field(gt=0)] = 60.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 6
