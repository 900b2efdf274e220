"""The metrics endpoint: right numbers, for a real parser, in spite of hostile clients."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rille.errors import ConfigError, SinkError
from rille.events import EventLog
from rille.result import Result, State
from rille.sinks import open_sink
from rille.sinks.fan import SinkFan
from rille.sinks.prometheus import BUCKETS_S, PrometheusEndpoint
from rille.sinks.text_server import MAX_CONNECTIONS

Make = Callable[..., Result]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def endpoint() -> Iterator[PrometheusEndpoint]:
    found = PrometheusEndpoint("127.0.0.1", 0)
    yield found
    found.close()


def fetch(
    port: int, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def parsed(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found
            found[key] = one.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return answer_of(connection)


def answer_of(connection: socket.socket) -> bytes:
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass  # refused before everything was read
    return data


def test_the_account_as_metrics(endpoint: PrometheusEndpoint, result: Make, lost: Make) -> None:
    for k in range(10):
        endpoint.write(result(k, age_ms=10.0 + k))
    endpoint.write(result(10, State.LATE, 80.0, level="classify-only", shed=("segment",)))
    endpoint.write(lost(11, State.DROPPED))
    endpoint.write(lost(12, State.FAILED))
    status, text = fetch(endpoint.port)
    assert status == 200
    samples = parsed(text)
    assert value(samples, "rille_frames_captured_total") == 13
    states = {
        s: value(samples, "rille_frames_total", state=s)
        for s in ("ok", "late", "dropped", "failed")
    }
    assert states == {"ok": 10, "late": 1, "dropped": 1, "failed": 1}
    assert value(samples, "rille_frames_dropped_total", cause="superseded") == 1
    assert value(samples, "rille_stages_shed_total", stage="segment") == 1
    assert value(samples, "rille_level_frames_total", level="full") == 10
    assert value(samples, "rille_level", level="full") == 0
    assert value(samples, "rille_level", level="classify-only") == 1
    assert value(samples, "rille_budget_seconds") == 0.05


def test_histograms_are_those_of_the_durations(endpoint: PrometheusEndpoint, result: Make) -> None:
    ages = [0.5, 1.0, 9.99, 10.0, 10.01, 49.0, 51.0, 20_000.0]
    for k, age_ms in enumerate(ages):
        endpoint.write(result(k, age_ms=age_ms))
    samples = parsed(endpoint.text())
    for bound in BUCKETS_S:
        expected = sum(age_ms <= bound * 1000 for age_ms in ages)
        assert value(samples, "rille_age_seconds_bucket", le=f"{bound:g}") == expected
    assert value(samples, "rille_age_seconds_bucket", le="+Inf") == len(ages)
    assert value(samples, "rille_age_seconds_count") == len(ages)
    assert value(samples, "rille_age_seconds_sum") == pytest.approx(sum(ages) / 1000)
    assert value(samples, "rille_stage_seconds_sum", stage="segment infer") == pytest.approx(0.048)
    assert value(samples, "rille_stage_seconds_count", stage="classify infer") == len(ages)


def test_sinks_and_events_are_counted(result: Make) -> None:
    log = EventLog(burst=1)
    endpoint = PrometheusEndpoint("127.0.0.1", 0)
    fan = SinkFan(log, lossless=True)
    fan.add(endpoint, "prometheus")
    for _ in range(5):
        log.emit("FRAME_LATE", "late")
    fan.write(result(0))
    end = time.monotonic() + 10
    while fan.counts()["prometheus"].written < 2 and time.monotonic() < end:
        time.sleep(0.01)
    samples = parsed(fetch(endpoint.port)[1])
    fan.close()
    assert value(samples, "rille_events_total", id="FRAME_LATE") == 5
    assert value(samples, "rille_sink_things_total", sink="prometheus", fate="written") == 2
    assert value(samples, "rille_sink_things_total", sink="prometheus", fate="dropped") == 0
    with pytest.raises(ConnectionRefusedError):
        fetch(endpoint.port)


def test_odd_labels_are_escaped(endpoint: PrometheusEndpoint, result: Make) -> None:
    odd = 'a"b\\c\nd'
    endpoint.write(result(0, timings_ms={odd: 1.0}, level=odd))
    samples = parsed(endpoint.text())
    assert value(samples, "rille_stage_seconds_count", stage=odd) == 1
    assert value(samples, "rille_level", level=odd) == 1


def test_an_endpoint_that_saw_nothing(endpoint: PrometheusEndpoint) -> None:
    samples = parsed(endpoint.text())
    assert value(samples, "rille_frames_captured_total") == 0
    assert value(samples, "rille_age_seconds_count") == 0


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/metrics", "GET", {}, 200),
        ("/metrics?x=1", "GET", {}, 200),
        ("/metrics", "GET", {"Host": "localhost:9464"}, 200),
        ("/metrics", "GET", {"Host": "[::1]:9464"}, 200),
        ("/metrics", "GET", {"Host": "192.168.1.7"}, 200),
        ("/metrics", "GET", {"Host": "rebound.example"}, 403),
        ("/metrics", "GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/metrics", "GET", {"Host": ""}, 403),
        ("/", "GET", {}, 404),
        ("/metrics/../etc/passwd", "GET", {}, 404),
        ("/metrics", "POST", {}, 405),
        ("/metrics", "DELETE", {}, 405),
    ],
)
def test_only_one_page_for_an_address(
    endpoint: PrometheusEndpoint, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    assert fetch(endpoint.port, path, method, **headers)[0] == status


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9000, b"431"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_requests_that_are_none(
    endpoint: PrometheusEndpoint, request_bytes: bytes, status: bytes
) -> None:
    answer = raw(endpoint.port, request_bytes)
    assert answer.split(b" ")[1:2] == [status] or (status == b"431" and not answer)


def test_a_silent_or_dripping_client_is_let_go(
    endpoint: PrometheusEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rille.sinks.text_server.TIMEOUT_S", 0.3)
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as silent:
        assert answer_of(silent).split(b" ")[1] == b"408"
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as dripping:
        start = time.monotonic()
        try:
            while time.monotonic() - start < 20:
                dripping.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            pass
        assert time.monotonic() - start < 10


def test_too_many_connections_are_hung_up_and_room_comes_back(
    endpoint: PrometheusEndpoint,
) -> None:
    idle = [
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=10)
        for _ in range(MAX_CONNECTIONS)
    ]
    time.sleep(0.3)  # until all are served, or wait to be
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as more:
        assert answer_of(more) == b""
    assert threading.active_count() < 2 * MAX_CONNECTIONS + 10
    for one in idle:
        one.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if fetch(endpoint.port)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    pytest.fail("nobody is let in any more")


def test_many_at_once_while_it_counts(endpoint: PrometheusEndpoint, result: Make) -> None:
    one, done = result(), threading.Event()

    def count() -> None:
        while not done.is_set():
            endpoint.write(one)

    writer = threading.Thread(target=count)
    writer.start()
    try:
        for _ in range(20):
            samples = parsed(fetch(endpoint.port)[1])
            ok = value(samples, "rille_frames_total", state="ok")
            assert ok == value(samples, "rille_age_seconds_count")
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("prometheus://0.0.0.0:9464", ConfigError, r"add \?public=1 if it is meant to"),
        ("prometheus://[::]:9464", ConfigError, "listens beyond this machine"),
        ("prometheus://127.0.0.1", ConfigError, "needs a host and a port"),
        ("prometheus://127.0.0.1:99999", ConfigError, "a port from 1 to 65535"),
        ("prometheus://127.0.0.1:9464?publc=1", ConfigError, "did you mean 'public'"),
        ("prometheus://127.0.0.1:9464?public=yes", ConfigError, "public must be 0 or 1"),
        ("prometheus://no-such-host.invalid:9464", SinkError, "the host cannot be found"),
        ("prometheus://192.0.2.1:9464?public=1", SinkError, "cannot listen there"),
    ],
)
def test_addresses_that_cannot_be(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_sink(uri)


def test_a_port_that_is_taken(endpoint: PrometheusEndpoint) -> None:
    with pytest.raises(SinkError, match="cannot listen there: Address already in use"):
        open_sink(f"prometheus://127.0.0.1:{endpoint.port}")


def test_a_public_one_answers_to_any_name(free_port: int) -> None:
    sink = open_sink(f"prometheus://0.0.0.0:{free_port}?public=1")
    assert fetch(free_port, Host="rover.example:9464")[0] == 200
    sink.close()
