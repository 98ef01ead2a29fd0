"""Edge nodes and their devices, as their births, data and deaths tell of them: what is new, and what became stale.

Sparkplug reports by exception: a value holds until the next one comes, as long as its node lives and no message of it
is missing. When either ends, each of the node's tags gets a bad sample, so that no old value passes for a present one.
Aliases are trusted only between a birth certificate and the next missing message, since after that they may stand
for other metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.live_samples import Sample
from connectors.sparkplug import Metric, Payload, decoded, steps
from procmodel.data.samples import Quality, ReadReport, TagInfo
from procmodel.errors import HistorianError

GOOD, STALE = 192, 500
"""Codes of the property `Quality` (Sparkplug 3.0.0, 6.4.15); 0 is bad."""
_OPC_DA = (Quality.BAD, Quality.UNCERTAIN, Quality.BAD, Quality.GOOD)
_MESSAGES = {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"}

Place = tuple[str, str]
"""Group and edge node."""
Source = tuple[str, str, str | None, str]
"""Group, edge node, device (None: the node itself) and metric."""


def quality_of(code: int) -> Quality:
    """What the property `Quality` says: the codes are those of OPC DA, and above 255 all are bad."""
    return _OPC_DA[code >> 6 & 0b11] if 0 <= code < 256 else Quality.BAD


@dataclass(kw_only=True)
class _Node:
    """A node since its last birth.

    Attributes:
        session: `bdSeq` of its birth.
        born: Its aliases are known.
        seq, content: Of its last message.
        seen: When that was sent, by the node's clock [us].
        behind: Our clock less the node's, transport included [us].
        names: Metric by device and alias.
    """

    session: int | None = None
    born: bool = False
    seq: int | None = None
    content: bytes = b""
    seen: int = 0
    behind: int = 0
    names: dict[tuple[str | None, int], str] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Known:
    """A metric: its newest sample [us], and what certificate and properties said of it last."""

    newest: int = -1
    stale: bool = False
    datatype: int = 0
    code: int = GOOD


@dataclass(kw_only=True)
class News:
    """Samples of one message, each with the number of its tag.

    Attributes:
        fresh: Newer than all before of their tags, in order.
        late: All others: stored while the node was cut off, or sent out of order.
    """

    fresh: list[tuple[int, Sample]] = field(default_factory=list)
    late: list[tuple[int, Sample]] = field(default_factory=list)


class Nodes:
    """All nodes that were heard of.

    Args:
        numbers: Full names of the wanted tags, as `group/node/device/metric`, with the number of each.
        report: Counts what is doubled, late or missing.

    Attributes:
        infos: What births told of every metric, wanted or not, by full name.
        unborn: Nodes whose certificates are needed.
    """

    def __init__(self, numbers: Mapping[str, int], report: ReadReport) -> None:
        self.infos: dict[str, TagInfo] = {}
        self.unborn: set[Place] = set()
        self._numbers, self._report = numbers, report
        self._nodes: dict[Place, _Node] = {}
        self._sources: dict[str, Source] = {}
        self._known: dict[Source, _Known] = {}
        self._noted: set[str] = set()

    def take(self, topic: str, content: bytes, arrived: int) -> News:
        """Samples of a message.

        Args:
            arrived: When it came [us since 1970].

        Raises:
            HistorianError: two metrics have the same full name.
        """
        news = News()
        _, group, kind, name, *rest = [*topic.split("/"), "", "", ""]
        if kind not in _MESSAGES:
            return news
        try:
            payload = decoded(content)
        except HistorianError as error:
            self._note(f"{topic}: {error}")
            return news
        place, device = (group, name), rest[0] if kind.startswith("D") else None
        node = self._nodes.setdefault(place, _Node())
        if kind == "NDEATH":
            # The broker speaks for a session that may long have been followed by another one.
            if node.session is None or _session(payload) in (node.session, None):
                self._lost(news, place, arrived - node.behind)
                self._nodes[place] = _Node(session=node.session, behind=node.behind)
            return news
        if kind != "NBIRTH" and payload.seq is not None and (payload.seq, content) == (node.seq, node.content):
            self._report.duplicates += len(payload.metrics)
            return news
        if kind == "NBIRTH":
            if node.seq is not None and _session(payload) != node.session:
                self._lost(news, place, node.seen + 1)  # its death was not heard of
            self._nodes[place] = node = _Node(session=_session(payload), born=True)
            self.unborn.discard(place)
        else:
            self._check(news, place, node, payload.seq)
        sent = payload.time * 1000 or arrived
        node.seq, node.content, node.seen, node.behind = payload.seq, content, max(sent, node.seen), arrived - sent
        if kind == "DDEATH":
            self._lost(news, place, sent, device)
        elif kind.endswith("BIRTH"):
            self._birth(news, node, (group, name, device), payload, sent)
        else:
            self._data(news, node, (group, name, device), payload, sent)
        return news

    def disconnected(self, at: int) -> News:
        """Bad samples of all tags: nobody tells of them any more [us since 1970]."""
        news = News()
        for place, node in self._nodes.items():
            self._lost(news, place, at - node.behind)
            self._nodes[place] = _Node(session=node.session, behind=node.behind)
        self.unborn = set(self._nodes)
        return news

    def _check(self, news: News, place: Place, node: _Node, seq: int | None) -> None:
        """Whether a message is missing before this one."""
        missing = None not in (seq, node.seq) and seq != ((node.seq or 0) + 1) % 256
        if missing:
            self._note(f"{'/'.join(place)}: a message is missing; its tags are bad until they are told again.")
            self._lost(news, place, node.seen + 1)
        if missing or not node.born:
            node.born = False
            node.names.clear()
            self.unborn.add(place)

    def _birth(self, news: News, node: _Node, owner: tuple[str, str, str | None], payload: Payload, sent: int) -> None:
        """A certificate: every metric with its name, alias, type and value now."""
        device = owner[2]
        node.names = {key: name for key, name in node.names.items() if key[0] != device}
        for metric in payload.metrics:
            if metric.name is None:
                continue
            source = (*owner, metric.name)
            if self._sources.setdefault(_full(source), source) != source:
                raise HistorianError(
                    f"{_full(source)!r} is a metric both of a node and of a device of it. Rename one of them there."
                )
            if metric.alias is not None and node.born:
                node.names[device, metric.alias] = metric.name
            self.infos[_full(source)] = _info(_full(source), metric)
            known = self._known.setdefault(source, _Known())
            known.datatype, known.code = metric.datatype, GOOD
            sample = _sample(known, metric, sent)
            if known.stale and sample.time <= known.newest and not metric.historical:
                # What has held since before the tag became stale holds again from the certificate on.
                sample = sample._replace(time=max(sent, known.newest + 1))
            self._put(news, source, sample, metric.historical)

    def _data(self, news: News, node: _Node, owner: tuple[str, str, str | None], payload: Payload, sent: int) -> None:
        for metric in payload.metrics:
            name = metric.name
            if name is None and metric.alias is not None:
                name = node.names.get((owner[2], metric.alias))
            if name is None:
                self._note(f"{owner[0]}/{owner[1]}: values without a name are left out until its next birth.")
                self._report.words["(unknown alias)"] = self._report.words.get("(unknown alias)", 0) + 1
                self.unborn.add(owner[:2])
                continue
            known = self._known.setdefault((*owner, name), _Known())
            self._put(news, (*owner, name), _sample(known, metric, sent), metric.historical)

    def _lost(self, news: News, place: Place, at: int, device: str | None = None) -> None:
        """A bad sample for each tag of a node, or of one device of it."""
        for source, known in self._known.items():
            if source[:2] == place and device in (None, source[2]) and known.newest >= 0 and not known.stale:
                stale = Sample(max(at, known.newest + 1), None, STALE, int(Quality.BAD), "stale")
                self._put(news, source, stale, False)
                known.stale = True

    def _put(self, news: News, source: Source, sample: Sample, historical: bool) -> None:
        known, index = self._known[source], self._numbers.get(_full(source))
        doubled = sample.time == known.newest
        late = not doubled and (historical or sample.time < known.newest)
        if not doubled and not late:
            known.newest, known.stale = sample.time, False
        if index is None:
            return
        self._report.duplicates += doubled
        self._report.unsorted += late
        if not doubled:
            (news.late if late else news.fresh).append((index, sample))

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._report.notes.append(text)


def _full(source: Source) -> str:
    return "/".join(part for part in source if part is not None)


def _sample(known: _Known, metric: Metric, sent: int) -> Sample:
    """A metric's value; a quality is told again only when it changes."""
    number, word = metric.read(known.datatype)
    code = _code(metric)
    if code is None:
        code = known.code
    elif not metric.historical:
        known.code = code
    quality = quality_of(code) if number is not None else Quality.BAD
    return Sample(metric.time * 1000 or sent, number, code, int(quality), word)


def _session(payload: Payload) -> int | None:
    held = next((metric.raw for metric in payload.metrics if metric.name == "bdSeq"), None)
    return None if held is None or isinstance(held, str) else int(held)


def _code(metric: Metric) -> int | None:
    """What the property says, where it is there."""
    held = next((value for key, value in metric.properties.items() if key.lower() == "quality"), None)
    return int(held) if isinstance(held, int | float) else None


def _info(full: str, metric: Metric) -> TagInfo:
    """What a certificate says of a metric, by the names of properties that Ignition's transmitters use."""
    told = {key.lower(): value for key, value in metric.properties.items()}
    low, high = (float(told[key]) if isinstance(told.get(key), int | float) else None for key in ("englow", "enghigh"))
    return TagInfo(
        name=full,
        unit=str(told.get("engunit") or ""),
        description=str(told.get("documentation") or told.get("description") or metric.description or ""),
        low=low,
        high=high,
        step=True if steps(metric.datatype) else None,
    )
