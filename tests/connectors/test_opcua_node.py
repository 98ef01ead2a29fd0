"""OPC UA against node-opcua, an independent server; `.ci/servers` installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_driver import rows_of

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")

from opcua_plant import at, free_port

from connectors.opcua import OpcUaHistorian
from connectors.opcua_certificates import make_certificate
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError
from procmodel.plant import History

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / ".node/node_modules"
SECONDS = range(40)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; .ci/servers says how")
    if not (MODULES / "node-opcua").is_dir():
        pytest.skip("node-opcua is not installed; run .ci/servers")
    folder, port = tmp_path_factory.mktemp("node"), free_port()
    script = Path(__file__).with_name("node_plant.js")
    errors = (folder / "stderr").open("wb")
    with subprocess.Popen(
        [node, str(script), str(MODULES), str(port), str(folder / "pki")],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "HOME": str(folder), "NODEOPCUADEBUG": ""},
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("ready") for line in process.stdout), (folder / "stderr").read_text()
            yield f"opc.tcp://127.0.0.1:{port}"
        finally:
            process.kill()
            errors.close()


def plain(address: str, **options: object) -> OpcUaHistorian:
    return OpcUaHistorian(History(kind="opcua", path=address, options={"security": "none", **options}), {})


@pytest.mark.parametrize("page", [3, 40, 1000])
def test_history_is_read_whole_with_its_bad_values(address: str, page: int) -> None:
    found = rows_of(plain(address, page=page), Query(tags=("TI1.PV",), end=at(3600)))["TI1.PV"]
    assert found == [(at(s), 20.0 + s, Quality.BAD if s % 9 == 7 else Quality.GOOD) for s in SECONDS]


def test_a_range_and_the_value_held_at_its_start(address: str) -> None:
    found = rows_of(plain(address), Query(tags=("TI1.PV",), start=at(10.5), end=at(13)))["TI1.PV"]
    assert [stamp for stamp, _, _ in found] == [at(10), at(11), at(12)]


def test_search_tells_what_the_server_knows(address: str) -> None:
    [info] = plain(address).search("TI1*")
    assert (info.name, info.description, info.low, info.high) == ("TI1.PV", "reactor", 0.0, 150.0)
    assert info.unit == "°C"


def test_a_secured_connection_reads_the_same(address: str, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "own")
    trusted = tmp_path / "own/trusted"
    options = {"certificate": str(certificate), "private_key": str(key), "trusted": str(trusted), "attempts": 1}
    source = OpcUaHistorian(History(kind="opcua", path=address, options=options), {})
    with pytest.raises(HistorianError, match="is not trusted"):
        source.read(Query(tags=("TI1.PV",)))
    [shown] = (tmp_path / "own/rejected").iterdir()
    shown.rename(trusted / shown.name)
    assert len(rows_of(source, Query(tags=("TI1.PV",), end=at(3600)))["TI1.PV"]) == len(SECONDS)
