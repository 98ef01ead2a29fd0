"""OPC UA HistoryRead and tag search against asyncua's server, plain and secured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_driver import rows_of

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")

from asyncua import ua
from opcua_plant import BAD, GOOD, T0, UNCERTAIN, URI, PlantServer, at, free_port

from connectors.opcua import OpcUaHistorian
from connectors.opcua_certificates import main, make_certificate
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

PAGE = 7  # values in one answer of the server, at most


def opcua(address: str, **options: Any) -> OpcUaHistorian:
    return OpcUaHistorian(History(kind="opcua", path=address, options={"security": "none", **options}), {})


@pytest.fixture(scope="module")
def plant() -> Iterator[PlantServer]:
    server = PlantServer(page=PAGE)
    unit = ua.EUInformation(NamespaceUri="", UnitId=1, DisplayName=ua.LocalizedText("degC"))
    server.add(
        "TI1.PV",
        [
            (second, 20.0 + second, UNCERTAIN if second % 9 == 4 else BAD if second % 9 == 7 else GOOD)
            for second in range(40)
        ],
        properties={"EngineeringUnits": unit, "EURange": ua.Range(0.0, 150.0)},
        description="reactor",
    )
    server.add("FI1.SP", [(0, 1.0, GOOD), (30, 2.0, GOOD)], stepped=True)
    states = [ua.LocalizedText("closed"), ua.LocalizedText("open")]
    server.add(
        "XV1", [(0, 0, GOOD), (10, 1, GOOD)], kind=ua.VariantType.Int32, first=0, properties={"EnumStrings": states}
    )
    server.add("BATCH", [(0, "B-17", GOOD), (5, "4711", GOOD)], kind=ua.VariantType.String, first="")
    server.add("ODD", [(0, float("nan"), GOOD), (1, None, BAD), (2, 3.0, GOOD)])
    server.add("SAME", [(5, float(n), GOOD) for n in range(20)] + [(6, 99.0, GOOD)])
    server.add("SILENT", [])
    server.add("HIDDEN", historize=False)
    server.add("NUMBERED", [(0, 5.0, GOOD)], node_id=ua.NodeId(4711, server.space))
    yield server
    server.close()


@pytest.mark.parametrize("page", [1, 2, 6, 7, 8, 100])
def test_every_value_comes_once_however_pages_fall(plant: PlantServer, page: int) -> None:
    # The server repeats the last row of an answer in the next one; a well-known reader handed it over twice.
    source = opcua(plant.address, page=page)
    found = rows_of(source, Query(tags=("TI1.PV",)))["TI1.PV"]
    assert [stamp for stamp, _, _ in found] == [at(second) for second in range(40)]
    assert [value for _, value, _ in found] == [20.0 + second for second in range(40)]
    assert source.report.duplicates == 0


def test_a_status_is_decoded_by_its_severity_and_kept_as_it_is(plant: PlantServer) -> None:
    batches = list(opcua(plant.address).read(Query(tags=("TI1.PV",), start=at(3), end=at(8), carry_in=False)))
    told = [(row["status"], row["quality"]) for batch in batches for row in batch.to_pylist()]
    assert told == [(GOOD, 0), (UNCERTAIN, 1), (GOOD, 0), (GOOD, 0), (BAD, 2)]


def test_a_range_is_half_open_with_the_value_held_at_its_start(plant: PlantServer) -> None:
    found = rows_of(opcua(plant.address), Query(tags=("FI1.SP", "TI1.PV"), start=at(29.5), end=at(32)))
    assert [stamp for stamp, _, _ in found["FI1.SP"]] == [at(0), at(30)]
    assert [stamp for stamp, _, _ in found["TI1.PV"]] == [at(29), at(30), at(31)]


def test_a_stamp_that_fills_every_answer_is_passed_and_told(plant: PlantServer) -> None:
    source = opcua(plant.address, page=5)
    assert [stamp for stamp, _, _ in rows_of(source, Query(tags=("SAME",)))["SAME"]] == [at(5), at(6)]
    assert any("share the stamp 2024-05-01T06:00:05" in note for note in source.report.notes)


def test_words_and_states_are_told_and_only_numbers_are_values(plant: PlantServer) -> None:
    batches = opcua(plant.address).read(Query(tags=("XV1", "BATCH", "ODD")))
    rows = [row for batch in batches for row in batch.to_pylist()]
    told = {
        tag: [(r["value"], r["state"], r["quality"]) for r in rows if r["tag"] == tag]
        for tag in ("XV1", "BATCH", "ODD")
    }
    assert told["XV1"] == [(0.0, "closed", 0), (1.0, "open", 0)]
    assert told["BATCH"] == [(None, "B-17", 2), (None, "4711", 2)]
    assert told["ODD"] == [(None, "nan", 2), (None, "(empty)", 2), (3.0, None, 0)]


def test_search_tells_unit_range_description_step_and_states(plant: PlantServer) -> None:
    found = {info.name: info for info in opcua(plant.address).search()}
    assert set(found) == {"TI1.PV", "FI1.SP", "XV1", "BATCH", "ODD", "SAME", "SILENT", "NUMBERED"}
    temperature = found["TI1.PV"]
    assert (temperature.unit, temperature.description, temperature.low, temperature.high, temperature.step) == (
        "degC",
        "reactor",
        0.0,
        150.0,
        None,
    )
    assert found["FI1.SP"].step is True
    assert (found["XV1"].step, found["XV1"].states) == (True, {0: "closed", 1: "open"})
    assert [info.name for info in opcua(plant.address).search("*.PV")] == ["TI1.PV"]


@pytest.mark.parametrize("written", ["ns=2;s=TI1.PV", f"nsu={URI};s=TI1.PV"])
def test_a_tag_may_be_named_by_its_node(plant: PlantServer, written: str) -> None:
    source = opcua(plant.address, nodes={"reactor": written})
    assert len(rows_of(source, Query(tags=("reactor",)))["reactor"]) == 40


def test_a_tag_without_history_and_one_that_is_not_there_are_told(plant: PlantServer) -> None:
    with pytest.raises(HistorianError, match=r"'TI1\.PW' is not in the record.*did you mean 'TI1\.PV'\?"):
        opcua(plant.address).read(Query(tags=("TI1.PW",)))
    with pytest.raises(HistorianError, match="'SILENT' is not in the record"):
        opcua(plant.address).read(Query(tags=("SILENT",)))


def test_the_newest_value_is_told(plant: PlantServer) -> None:
    told = [
        (row["tag"], row["time"], row["value"]) for row in opcua(plant.address).latest(["XV1", "TI1.PV"]).to_pylist()
    ]
    assert told == [("XV1", at(10), 1.0), ("TI1.PV", at(39), 59.0)]


def test_many_threads_share_one_connection(plant: PlantServer) -> None:
    tags = ("TI1.PV", "FI1.SP", "XV1", "SAME", "ODD", "NUMBERED")
    alone = rows_of(opcua(plant.address, parallel=1, page=3), Query(tags=tags))
    assert rows_of(opcua(plant.address, parallel=6, page=3), Query(tags=tags)) == alone


def test_a_server_that_is_not_there_is_asked_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.retry.Patience.wait", lambda *_: 0.0)
    with pytest.raises(HistorianError, match=r"opc\.tcp://127.* cannot be reached.*asked 2 times"):
        opcua(f"opc.tcp://127.0.0.1:{free_port()}", attempts=2).read(Query(tags=("TI1.PV",)))


def test_a_connection_lost_on_the_way_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.retry.Patience.wait", lambda *_: 0.05)
    server = PlantServer(page=PAGE)
    rows = [(second, 1.0 * second, GOOD) for second in range(60)]
    for tag in ("A", "B", "C"):
        server.add(tag, rows)
    source = opcua(server.address, page=5, attempts=60, timeout=5.0)
    found: dict[str, list[float]] = {"A": [], "B": [], "C": []}
    cut = False
    for batch in source.read(Query(tags=("A", "B", "C"))):
        for row in batch.to_pylist():
            found[row["tag"]].append(row["value"])
        if not cut:
            cut = True
            server.cut_connections()
    server.close()
    assert found == {tag: [1.0 * second for second in range(60)] for tag in "ABC"}
    assert source.report.retries > 0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("server", "client", "stranger")}
    for name, folder in folders.items():
        make_certificate(folder / "own", name=name, server=name == "server")
    (folders["client"] / "own/trusted/server.der").write_bytes((folders["server"] / "own/own.der").read_bytes())
    return {name: folder / "own" for name, folder in folders.items()}


@pytest.fixture(scope="module")
def secured(pki: dict[str, Path]) -> Iterator[PlantServer]:
    trusted = pki["server"] / "trusted"
    (trusted / "client.der").write_bytes((pki["client"] / "own.der").read_bytes())
    server = PlantServer(pki=pki["server"])
    server.add("TI1.PV", [(0, 1.0, GOOD)])
    yield server
    server.close()


def locked(address: str, folder: Path, **options: Any) -> OpcUaHistorian:
    files = {
        "certificate": str(folder / "own.der"),
        "private_key": str(folder / "own.pem"),
        "trusted": str(folder / "trusted"),
    }
    return OpcUaHistorian(History(kind="opcua", path=address, options={**files, "attempts": 1, **options}), {})


def test_a_connection_is_signed_and_encrypted_with_basic256sha256(secured: PlantServer, pki: dict[str, Path]) -> None:
    assert rows_of(locked(secured.address, pki["client"]), Query(tags=("TI1.PV",)))["TI1.PV"] == [
        (T0, 1.0, Quality.GOOD)
    ]


def test_an_unsecured_client_is_refused(secured: PlantServer) -> None:
    with pytest.raises(HistorianError):
        opcua(secured.address, attempts=1).read(Query(tags=("TI1.PV",)))


def test_a_client_whose_certificate_the_server_does_not_know_is_refused(
    secured: PlantServer, pki: dict[str, Path]
) -> None:
    folder = pki["stranger"]
    (folder / "trusted/server.der").write_bytes((pki["server"] / "own.der").read_bytes())
    with pytest.raises(HistorianError):
        locked(secured.address, folder).read(Query(tags=("TI1.PV",)))


def test_a_server_that_is_not_trusted_is_refused_and_shown(
    secured: PlantServer, pki: dict[str, Path], tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    with pytest.raises(HistorianError, match=r"SHA-256 [0-9a-f]{64}\) is not trusted.*then move .*rejected"):
        locked(secured.address, pki["client"], trusted=str(trusted)).read(Query(tags=("TI1.PV",)))
    [shown] = (tmp_path / "rejected").iterdir()
    assert shown.read_bytes() == (pki["server"] / "own.der").read_bytes()


def test_security_is_asked_for_unless_it_is_written_out(plant: PlantServer, pki: dict[str, Path]) -> None:
    history = History(kind="opcua", path=plant.address)
    with pytest.raises(PlantFileError, match=r"certificate is missing: a connection with Basic256Sha256 needs it"):
        OpcUaHistorian(history, {}).read(Query(tags=("TI1.PV",)))
    with pytest.raises(HistorianError, match=r"does not offer Basic256Sha256 with SignAndEncrypt, but: None None_"):
        locked(plant.address, pki["client"]).read(Query(tags=("TI1.PV",)))


def test_a_password_does_not_cross_the_network_in_the_clear(plant: PlantServer, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("user = reader\npassword = hush\n")
    with pytest.raises(PlantFileError, match="would send the password readably"):
        opcua(plant.address, credentials={"file": str(file)}).read(Query(tags=("TI1.PV",)))


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(PlantFileError, match=r"needs the server's address, such as opc\.tcp://"):
        opcua("http://plant")


def test_a_certificate_is_made_once_and_its_key_is_ours_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "own")]) == 0
    assert (tmp_path / "own/own.pem").stat().st_mode & 0o777 == 0o600
    assert main([str(tmp_path / "own")]) == 2
    assert "holds a certificate or key already" in capsys.readouterr().err
