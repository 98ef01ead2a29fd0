"""AVEVA (OSIsoft) PI through its Web API."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from connectors.driver import Page
from connectors.http_client import MissingError, WebClient, WebOptions
from connectors.pi_values import samples_of
from connectors.server import ServerHistorian
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options
from procmodel.plant.tag import nearest

_POINT = "WebId;Name;Descriptor;EngineeringUnits;PointType;DigitalSetName;Step;Zero;Span"
_ITEM = "Items.Timestamp;Items.Value;Items.Good;Items.Questionable"
_POINTS_AT_ONCE = 1000


class PiOptions(WebOptions):
    """Which data archive is read.

    Attributes:
        server: Its name; absent: the only one that the Web API knows.
    """

    server: str | None = None


class PiHistorian(ServerHistorian):
    """The PI Web API as a historian.

    Args:
        history: `path` is its address, such as https://pi.example.com/piwebapi; options as in `PiOptions`.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(PiOptions, history.options)
        super().__init__(PiDriver(WebClient(history, options), options.server), tags, options)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A PI data archive."""

    name: str
    id: str


class PiDriver:
    """One data archive behind one Web API."""

    page_rows = 20_000
    most_rows = 150_000  # above, the Web API refuses, unless its administrator has changed that

    def __init__(self, web: WebClient, server: str | None) -> None:
        self.place = f"{web.place}{f' server {server}' if server else ''}"
        self.identity = self.place
        self._web, self._server = web, server
        self._lock = threading.Lock()
        self._archive: Archive | None = None
        self._points: dict[str, str] = {}

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """Points whose name matches; `[...]` in a pattern is not known there, and applied by the wrapper."""
        archive = self._found()
        wanted = "*" if "[" in pattern else pattern
        states: dict[str, dict[int, str]] = {}
        start = 0
        while True:
            asked = {"nameFilter": wanted, "startIndex": start, "maxCount": _POINTS_AT_ONCE}
            path = f"/dataservers/{quote(archive.id, safe='')}/points"
            items = self._web.get(path, {**asked, "selectedFields": ";".join(f"Items.{f}" for f in _POINT.split(";"))})[
                "Items"
            ]
            sets = {str(each["DigitalSetName"]) for each in items if each.get("DigitalSetName")} - set(states)
            states |= self._states(archive, sets) if sets else {}
            yield from (_info(each, states) for each in items)
            if len(items) < _POINTS_AT_ONCE:
                return
            start += len(items)

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first recorded values of a range; its end is part of it there."""
        point = self._point(tag)
        if point is None:
            return Page(samples=samples_of([], tag), more=False)
        asked = {
            "startTime": _written(start),
            "endTime": _written(end),
            "boundaryType": "Inside",
            "maxCount": limit,
            "selectedFields": _ITEM,
        }
        items = self._web.get(f"/streams/{quote(point, safe='')}/recorded", asked)["Items"]
        return Page(samples=samples_of(items, f"{self.place}, tag {tag!r}"), more=len(items) >= limit)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest value before a moment."""
        point = self._point(tag)
        if point is None:
            return None
        stream = f"/streams/{quote(point, safe='')}"
        try:
            if before is None:
                found = self._web.get(f"{stream}/end")
            else:
                asked = {"time": _written(before), "retrievalMode": "Before"}
                found = self._web.get(f"{stream}/recordedattime", asked)
        except MissingError:
            return None  # nothing before it
        stamp = samples_of([found], self.place)["time"][0]
        return stamp if isinstance(stamp, datetime) and (before is None or stamp < before) else None

    def close(self) -> None:
        """Ends the connections."""
        self._points = {}
        self._web.close()

    def _found(self) -> Archive:
        with self._lock:
            if self._archive is None:
                servers = self._web.get("/dataservers", {"selectedFields": "Items.Name;Items.WebId"})["Items"]
                named = {str(each["Name"]): str(each["WebId"]) for each in servers}
                chosen = next(iter(named)) if self._server is None and len(named) == 1 else self._server
                folded = {name.casefold(): name for name in named}
                if chosen is None or chosen.casefold() not in folded:
                    raise HistorianError(
                        f"history.options.server: {'not set' if chosen is None else f'unknown server {chosen!r}'}; "
                        f"{nearest(chosen or '', named)}"
                    )
                name = folded[chosen.casefold()]
                self._archive = Archive(name=name, id=named[name])
            return self._archive

    def _point(self, tag: str) -> str | None:
        """The id of a tag; None where there is no such point."""
        if tag not in self._points:
            path = f"\\\\{self._found().name}\\{tag}"
            try:
                self._points[tag] = str(self._web.get("/points", {"path": path, "selectedFields": "WebId"})["WebId"])
            except MissingError:
                return None
        return self._points[tag]

    def _states(self, archive: Archive, names: set[str]) -> dict[str, dict[int, str]]:
        """Names of the values of digital state sets, all in one batch."""
        path = f"/dataservers/{quote(archive.id, safe='')}/enumerationsets"
        sets = self._web.get(path, {"selectedFields": "Items.Name;Items.WebId"})["Items"]
        known = {str(each["Name"]): str(each["WebId"]) for each in sets if each["Name"] in names}
        resources = {
            name: f"{self._web.place}/enumerationsets/{quote(each, safe='')}/enumerationvalues"
            for name, each in known.items()
        }
        if not resources:
            return {name: {} for name in names}
        found = self._batch(resources)
        return {
            name: {int(each["Value"]): str(each["Name"]) for each in found.get(name, {}).get("Items", ())}
            for name in names
        }

    def _batch(self, resources: Mapping[str, str]) -> dict[str, Any]:
        """Answers to several requests. The whole is 207 whatever became of each, so each is looked at."""
        keys = {str(index): name for index, name in enumerate(resources)}
        asked = {key: {"Method": "GET", "Resource": resources[name]} for key, name in keys.items()}
        replies = self._web.answer("POST", "/batch", asked)
        found: dict[str, Any] = {}
        for key, name in keys.items():
            reply = replies[key]
            self._web.check(int(reply["Status"]), reply.get("Headers") or {}, _said(reply.get("Content")).encode())
            found[name] = reply["Content"]
        return found


def _said(content: Any) -> str:
    """What a refusal says, as PI writes it: a list of sentences."""
    if isinstance(content, Mapping):
        errors = content.get("Errors") or content.get("Message") or ""
        return (
            " ".join(map(str, errors)) if isinstance(errors, Sequence) and not isinstance(errors, str) else str(errors)
        )
    return str(content or "")


def _info(point: Mapping[str, Any], states: Mapping[str, dict[int, str]]) -> TagInfo:
    digital = point.get("PointType") == "Digital"
    low, span = point.get("Zero"), point.get("Span")
    ranged = not digital and low is not None and bool(span)
    step = point.get("Step")
    return TagInfo(
        name=str(point["Name"]),
        unit=str(point.get("EngineeringUnits") or ""),
        description=str(point.get("Descriptor") or ""),
        low=float(low) if ranged and low is not None else None,
        high=float(low) + float(span) if ranged and low is not None and span is not None else None,
        step=True if digital else None if step is None else bool(step),
        states=dict(states.get(str(point.get("DigitalSetName")), {})),
    )


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
