"""The tags of an OPC UA server: which nodes they are, and what the server says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from connectors.opcua_options import OpcUaOptions
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError, PlantFileError

AT_ONCE = 100
"""Nodes per request: servers limit them, and not all tell their limit."""
MOST_NODES = 500_000

_HISTORY_READ = 1 << 2  # bit of AccessLevel, Part 3, 8.57
_HIERARCHICAL, _HAS_PROPERTY, _HAS_HISTORY = 33, 46, 56
_IDENTIFIER = ("ns=", "nsu=", "i=", "s=", "g=", "b=")
# Names of properties by what they tell: Part 8 (units, ranges, states) and Part 11 (stepped).
_UNITS, _RANGE, _STATES, _STATE_VALUES, _TRUE, _FALSE, _STEPPED = (
    "EngineeringUnits",
    "EURange",
    "EnumStrings",
    "EnumValues",
    "TrueState",
    "FalseState",
    "Stepped",
)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A variable of the server under the name of its tag."""

    name: str
    id: ua.NodeId
    historized: bool


async def nodes_below(services: Any, root: str) -> list[Node]:
    """All variables below a node, the server's own (namespace 0) left out.

    A tag is called by the identifier of its node where that is text, else by the browse names on the way to it, joined
    by points; where two are called the same, by the whole node id.

    Args:
        services: `UaSession` of an open client.

    Raises:
        PlantFileError: the root is no node id.
        HistorianError: there are more nodes than anyone browses.
    """
    found: dict[ua.NodeId, str] = {}
    seen: set[ua.NodeId] = set()
    level = [(await node_id(services, root), "")]
    while level:
        children = await _references(services, [node for node, _ in level], _HIERARCHICAL)
        below = []
        for (_, path), references in zip(level, children, strict=True):
            for each in references:
                node = _local(each.NodeId)
                if node in seen or node.NamespaceIndex == 0 or each.ReferenceTypeId.Identifier == _HAS_PROPERTY:
                    continue
                seen.add(node)
                name = f"{path}.{each.BrowseName.Name}" if path else str(each.BrowseName.Name)
                if each.NodeClass == ua.NodeClass.Variable:
                    found[node] = str(node.Identifier) if isinstance(node.Identifier, str) else name
                below.append((node, name))
        if len(seen) > MOST_NODES:
            raise HistorianError(f"More than {MOST_NODES} nodes below {root}. Set history.options.root further down.")
        level = below
    return await _named(services, found)


async def _named(services: Any, found: dict[ua.NodeId, str]) -> list[Node]:
    often = Counter(found.values())
    levels = await read(services, list(found), ua.AttributeIds.AccessLevel)
    return [
        Node(
            name=name if often[name] == 1 else node.to_string(),
            id=node,
            historized=isinstance(level, int) and bool(level & _HISTORY_READ),
        )
        for (node, name), level in zip(found.items(), levels, strict=True)
    ]


async def node_id(services: Any, text: str) -> ua.NodeId:
    """A written node id; a namespace written as its URI is looked up, since its number may change.

    Raises:
        PlantFileError: it is none, or the server has no such namespace.
    """
    uri, rest = "", text
    if text.startswith("nsu="):
        uri, _, rest = text.removeprefix("nsu=").partition(";")
    try:
        node = ua.NodeId.from_string(rest)
    except ua.UaError as error:
        raise PlantFileError(
            f"history.options: {text!r} is no node id. Write it as ns=2;s=NAME, nsu=urn:plant;s=NAME or ns=2;i=1001."
        ) from error
    if not uri:
        return node
    [known] = await read(services, [ua.NodeId(ua.ObjectIds.Server_NamespaceArray)], ua.AttributeIds.Value)
    if uri not in known:
        raise PlantFileError(f"history.options: the server has no namespace {uri!r}, but {', '.join(known)}.")
    return ua.NodeId(node.Identifier, known.index(uri), node.NodeIdType)


def is_node_id(name: str) -> bool:
    """Whether a tag is written as a node id."""
    return name.startswith(_IDENTIFIER) and "=" in name


async def described(services: Any, nodes: Sequence[Node]) -> list[TagInfo]:
    """What the server says of tags: unit, description, instrument range, stepped or not, names of states."""
    ids = [node.id for node in nodes]
    texts = await read(services, ids, ua.AttributeIds.Description)
    properties = await _properties(services, ids)
    settings = await _references(services, ids, _HAS_HISTORY)
    configured = [_local(each[0].NodeId) if each else None for each in settings]
    present = [node for node in configured if node is not None]
    stepped = dict(zip(present, await _properties(services, present), strict=True))
    return [
        _info(node.name, text, held, stepped.get(configuration, {}))
        for node, text, held, configuration in zip(nodes, texts, properties, configured, strict=True)
    ]


def _info(name: str, text: Any, held: dict[str, Any], history: dict[str, Any]) -> TagInfo:
    unit, scale = held.get(_UNITS), held.get(_RANGE)
    step = history.get(_STEPPED, held.get(_STEPPED))
    low, high = (getattr(scale, "Low", None), getattr(scale, "High", None)) if scale is not None else (None, None)
    return TagInfo(
        name=name,
        unit=_text(getattr(unit, "DisplayName", None)),
        description=_text(text),
        low=low if low != high else None,  # 0 to 0 is what servers say who know no range
        high=high if low != high else None,
        step=bool(step) if step is not None else (True if states_of(held) else None),
        states=states_of(held),
    )


def states_of(held: dict[str, Any]) -> dict[int, str]:
    """Names of a digital tag's values, from whichever of the three ways of Part 8 the server uses."""
    if held.get(_STATES):
        return {index: _text(each) for index, each in enumerate(held[_STATES])}
    if held.get(_STATE_VALUES):
        return {int(each.Value): _text(each.DisplayName) for each in held[_STATE_VALUES]}
    if _TRUE in held or _FALSE in held:
        return {0: _text(held.get(_FALSE)), 1: _text(held.get(_TRUE))}
    return {}


def _text(given: Any) -> str:
    return str(getattr(given, "Text", None) or "")


async def read(services: Any, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds) -> list[Any]:
    """An attribute of each node; None where the server has none."""
    values: list[Any] = []
    for part in _parts(nodes):
        for value in await services.read_attributes(part, attribute):
            good = value.StatusCode is None or value.StatusCode.is_good()
            values.append(value.Value.Value if good and value.Value is not None else None)
    return values


async def _properties(services: Any, nodes: Sequence[ua.NodeId]) -> list[dict[str, Any]]:
    references = await _references(services, nodes, _HAS_PROPERTY)
    places = [
        (index, str(each.BrowseName.Name), _local(each.NodeId))
        for index, found in enumerate(references)
        for each in found
    ]
    values = await read(services, [node for _, _, node in places], ua.AttributeIds.Value)
    held: list[dict[str, Any]] = [{} for _ in nodes]
    for (index, name, _), value in zip(places, values, strict=True):
        if value is not None:
            held[index][name] = value
    return held


async def _references(services: Any, nodes: Sequence[ua.NodeId], kind: int) -> list[list[ua.ReferenceDescription]]:
    """Forward references of a kind, by node."""
    found: list[list[ua.ReferenceDescription]] = []
    for part in _parts(nodes):
        asked = [
            ua.BrowseDescription(
                NodeId=node,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=ua.NodeId(kind),
                IncludeSubtypes=True,
                NodeClassMask=0,
                ResultMask=ua.BrowseResultMask.All,
            )
            for node in part
        ]
        results = await services.browse(
            ua.BrowseParameters(View=ua.ViewDescription(), RequestedMaxReferencesPerNode=0, NodesToBrowse=asked)
        )
        for result in results:
            references = list(result.References or [])
            while result.ContinuationPoint:
                following = ua.BrowseNextParameters(
                    ReleaseContinuationPoints=False, ContinuationPoints=[result.ContinuationPoint]
                )
                [result] = await services.browse_next(following)
                references += result.References or []
            found.append(references)
    return found


def _local(node: ua.ExpandedNodeId) -> ua.NodeId:
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


def _parts(nodes: Sequence[ua.NodeId]) -> Iterator[list[ua.NodeId]]:
    for start in range(0, len(nodes), AT_ONCE):
        yield list(nodes[start : start + AT_ONCE])


async def resolved(
    services: Any, tags: Sequence[str], options: OpcUaOptions, *, below: Mapping[str, Node] | None = None
) -> dict[str, Node]:
    """The nodes of tags, those that the server does not know left out.

    Args:
        below: Nodes below the root by name, where they were looked for already.

    Raises:
        PlantFileError: a node id is wrong.
    """
    written = {tag: options.nodes.get(tag, tag) for tag in tags if tag in options.nodes or is_node_id(tag)}
    found = {tag: await node_id(services, text) for tag, text in written.items()}
    classes = await read(services, list(found.values()), ua.AttributeIds.NodeClass)
    nodes = {
        tag: Node(name=tag, id=node, historized=True)
        for (tag, node), kind in zip(found.items(), classes, strict=True)
        if kind == ua.NodeClass.Variable
    }
    rest = [tag for tag in tags if tag not in written]
    if rest:
        if below is None:
            below = {node.name: node for node in await nodes_below(services, options.root)}
        nodes |= {tag: below[tag] for tag in rest if tag in below}
    return nodes
