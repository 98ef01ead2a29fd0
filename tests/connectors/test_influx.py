"""InfluxDB 1.x: the real server, started in a temporary folder; `.ci/servers` installs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_driver import at, rows_of

pytest.importorskip("urllib3", reason="urllib3 is not installed: pip install 'procmodel[http]'")

import urllib3

from connectors.influx import InfluxHistorian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError
from procmodel.plant import History

EVIL = ["TI1", "a'b", 'a"b', "a\\", "' OR '1'='1", "a b", "Ä,1=2"]


def influx(address: str, **options: Any) -> InfluxHistorian:
    settings = {"database": "plant", "measurement": 'raw "1"', **options}
    return InfluxHistorian(History(kind="influx", path=address, options=settings), {})


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("influxd")
    if program is None:
        pytest.skip("InfluxDB is not installed; run .ci/servers")
    folder, ports = tmp_path_factory.mktemp("influx"), []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    settings = "\n".join(
        [
            "reporting-disabled = true",
            f'bind-address = "127.0.0.1:{ports[0]}"',
            f'[meta]\ndir = "{folder}/meta"',
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"',
            f'[http]\nbind-address = "127.0.0.1:{ports[1]}"',
        ]
    )
    (folder / "influx.conf").write_text(settings)
    place = f"http://127.0.0.1:{ports[1]}"
    log = (folder / "log").open("wb")
    with subprocess.Popen([program, "-config", str(folder / "influx.conf")], stdout=log, stderr=log) as process:
        try:
            pool = urllib3.PoolManager(retries=False)
            fill(pool, place, process)
            pool.clear()
            yield place
        finally:
            process.kill()
            log.close()


def fill(pool: Any, place: str, process: Any) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            pool.request("POST", f"{place}/query", fields={"q": "CREATE DATABASE plant"}, encode_multipart=False)
            break
        except urllib3.exceptions.HTTPError:
            assert process.poll() is None, "influxd ended"
            assert time.monotonic() < until, "influxd does not answer"
            time.sleep(0.1)
    lines = []
    for index, tag in enumerate(EVIL):
        key = tag.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
        # A backslash at the end of a tag would escape the separator; a value cannot end in one there.
        if not tag.endswith("\\"):
            lines += [
                rf'raw\ "1",tag={key} value={100.5 * index + s} {int(at(s).timestamp())}000000000' for s in range(9)
            ]
    for second, unit in ((0, "degF"), (1, "degC")):  # the unit was corrected
        about = rf"unit={unit},note=reactor\ top,low=0,high=150.5"
        lines.append(f"told,tag=TI1,{about} value={second} {int(at(second).timestamp())}000000000")
    lines += [
        f"told,tag=FI1 value=2 {int(at(0).timestamp())}000000000",
        f"switches,tag=XS1 value=true {int(at(0).timestamp())}000000000",
    ]
    reply = pool.request("POST", f"{place}/write?db=plant", body="\n".join(lines).encode())
    assert reply.status == 204, reply.data


@pytest.mark.parametrize("page", [1, 4, 1000])
def test_every_point_comes_once_and_an_evil_name_is_a_name(address: str, page: int) -> None:
    names = [tag for tag in EVIL if not tag.endswith("\\")]
    found = rows_of(influx(address, page=page), Query(tags=tuple(names)))
    for index, tag in enumerate(EVIL):
        if tag in names:
            assert found[tag] == [(at(s), 100.5 * index + s, 0) for s in range(9)], tag


def test_a_range_is_half_open_with_the_point_held_at_its_start(address: str) -> None:
    found = rows_of(influx(address), Query(tags=("TI1",), start=at(2.5), end=at(5)))["TI1"]
    assert [stamp for stamp, _, _ in found] == [at(2), at(3), at(4)]


def test_tags_are_found_and_unknown_ones_told(address: str) -> None:
    assert {info.name for info in influx(address).search()} >= {tag for tag in EVIL if not tag.endswith("\\")}
    with pytest.raises(HistorianError, match=r"'TI2' is not in the record.*did you mean 'TI1'\?"):
        influx(address).read(Query(tags=("TI2",)))
    with pytest.raises(HistorianError, match="is not in the record"):
        influx(address).read(Query(tags=("a\\",)))


def test_what_stands_beside_the_points_tells_of_the_tags(address: str) -> None:
    about = {"unit": "unit", "description": "note", "low": "low", "high": "high"}
    flow, temperature = influx(address, measurement="told", about=about).search()
    assert (temperature.name, temperature.unit, temperature.description) == ("TI1", "degC", "reactor top")
    assert (temperature.low, temperature.high, temperature.step) == (0.0, 150.5, None)
    assert (flow.name, flow.unit, flow.low) == ("FI1", "", None)
    with pytest.raises(HistorianError, match=r"'reactor top' is no number, and history\.options\.about\.low needs one"):
        list(influx(address, measurement="told", about={"low": "note"}).search())


def test_truth_values_step(address: str) -> None:
    source = influx(address, measurement="switches")
    [switch] = source.search()
    assert (switch.name, switch.step) == ("XS1", True)
    assert rows_of(source, Query(tags=("XS1",)))["XS1"] == [(at(0), 1.0, 0)]


def test_a_database_that_is_not_there_is_told(address: str) -> None:
    with pytest.raises(HistorianError, match="refused: database not found"):
        influx(address, database="nothing").read(Query(tags=("TI1",)))
