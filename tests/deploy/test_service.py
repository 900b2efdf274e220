"""`rille service`: what it writes, what systemd says of it, and that nothing else is touched."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rille.config import read_config
from rille.errors import ConfigError, SinkError
from rille.health.restarts import _LONGEST_PAUSE_S
from rille.health.settings import HealthConfig
from rille.service import BOARDS, WRITTEN, board_of, example, planned, write
from rille.service.files import ServiceFile
from rille.service.plan import ServiceOptions

Rille = Callable[..., int]
PYTHON = Path("/usr/bin/python3")


def _options(**changes: object) -> ServiceOptions:
    fields: dict[str, object] = {
        "python": PYTHON,
        "user": "rille",
        "config": example("pi5"),
        "where": "x.toml",
        **changes,
    }
    return ServiceOptions(**fields)  # type: ignore[arg-type]


def _unit(**changes: object) -> str:
    return next(f.content for f in planned(_options(**changes)) if f.path.name == "rille.service")


def _value(unit: str, key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("board", BOARDS)
def test_each_example_is_a_configuration_with_bounded_outputs(board: str, tmp_path: Path) -> None:
    (tmp_path / "flight.toml").write_text(example(board))
    config = read_config(tmp_path / "flight.toml")
    assert not (config.output.jsonl or config.output.video or config.output.report)
    assert any("max_mb=" in uri for uri in config.output.sinks)
    rate = re.search(r"fps=(\d+)", config.source.uri)
    assert rate and config.budget.frame_ms <= 1000 / int(rate[1])
    assert "not measured" in example(board)
    planned(_options(config=example(board)))


def test_a_board_is_known_by_what_its_firmware_says() -> None:
    assert board_of("Raspberry Pi 5 Model B Rev 1.0") == "pi5"
    assert board_of("Raspberry Pi 4 Model B Rev 1.4") == "pi4"
    assert board_of("NVIDIA Jetson Orin Nano Developer Kit") == "orin"
    assert board_of("Raspberry Pi 3") == board_of("") == ""


def test_install_and_uninstall_leave_the_users_configuration(
    rille: Rille, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("service", "install", "--prefix", tmp_path, "--python", PYTHON)
    assert rille(*words, "--board", "orin", "--dry-run") == 0
    assert "ExecStart=" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert rille(*words, "--board", "orin") == 0
    assert all((tmp_path / p.relative_to("/")).is_file() for p in WRITTEN)
    flight = tmp_path / "etc/rille/flight.toml"
    flight.write_text("[budget]\nframe_ms = 77.0\n")
    assert rille(*words) == 0  # what is there is taken, no board needs to be known
    assert "frame_ms = 77.0" in flight.read_text()
    own = tmp_path / "own.toml"
    own.write_text("[budget]\nframe_ms = 33.0\n\n[output]\nfolder = 'run'\n")
    assert rille(*words, "--config", own) == 0
    assert flight.read_text() == own.read_text()
    capsys.readouterr()
    assert rille("service", "uninstall", "--prefix", tmp_path, "--dry-run") == 0
    assert capsys.readouterr().out.count("would remove") == len(WRITTEN)
    assert rille("service", "uninstall", "--prefix", tmp_path) == 0
    assert [p for p in (tmp_path / "etc").rglob("*") if p.is_file()] == [flight]
    assert not (tmp_path / "etc/systemd/system/rille.service.d").exists()
    assert rille("service", "uninstall", "--prefix", tmp_path) == 0
    assert "nothing to remove" in capsys.readouterr().err


def test_an_unknown_machine_is_told_what_to_do(
    rille: Rille, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rille("service", "install", "--prefix", tmp_path, "--python", PYTHON) == 2
    assert "--config FILE" in capsys.readouterr().err
    assert rille("service", "install", "--prefix", tmp_path, "--board", "pi6") == 2
    assert "did you mean 'pi" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_who_is_not_root_is_told_before_anything_is_tried(
    rille: Rille, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for what in ("install", "uninstall"):
        assert rille("service", what) == 2
        assert "sudo rille service" in capsys.readouterr().err


def test_somebody_elses_unit_is_left_alone(
    rille: Rille, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = tmp_path / "etc/systemd/system/rille.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    words = ("--prefix", tmp_path)
    assert rille("service", "install", *words, "--board", "pi4", "--python", PYTHON) == 2
    assert "was not written by rille" in capsys.readouterr().err
    assert rille("service", "uninstall", *words) == 2
    assert unit.read_text() == "[Unit]\n"
    assert not (tmp_path / "etc/rille").exists()


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    files = planned(_options())
    write(files, tmp_path)
    changed = planned(_options(user="pi"))
    (tmp_path / "file").write_text("not a folder")
    bad = ServiceFile(path=Path("/file/x"), content="")
    before = {p: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(SinkError, match="cannot be written"):
        write([*changed, bad], tmp_path)
    assert {p: p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "root"}, "needs no root"),
        ({"user": "a b\nUser=root"}, "ordinary user"),
        ({"python": Path("bin/python")}, "absolute"),
        ({"python": Path("/tmp/v/bin/python")}, "/opt/rille"),
        ({"python": Path("/home/pi/v/bin/python")}, "cannot see that Python"),
        ({"python": Path('/opt/a"b/bin/python')}, "quotes"),
        ({"config": "[budget]\nframe_mss = 1.0\n"}, "did you mean 'frame_ms'"),
        ({"config": "[output]\nfolder = '/data/run'\n"}, "/data/run"),
        ({"config": "[output]\nfolder = '../../etc'\n"}, "below /var/lib/rille"),
        ({"config": "[output]\nsinks = ['mcap:///mnt/x.mcap']\n"}, "/mnt/x.mcap"),
    ],
)
def test_what_could_not_fly_is_refused_before_anything_is_written(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        planned(_options(**changes))


def test_the_interpreter_is_one_word_of_the_unit_and_can_be_seen() -> None:
    unit = _unit(python=Path("/opt/my rille/100%/bin/python"))
    assert 'ExecStart="/opt/my rille/100%%/bin/python" -m rille run --supervised' in unit
    assert _value(unit, "ProtectHome") == "yes"
    at_home = _unit(python=Path("/home/pi/venv/bin/python"), user="pi")
    assert _value(at_home, "ProtectHome") == "read-only"
    assert _value(at_home, "User") == "pi"


def test_the_unit_asks_for_what_rille_really_takes(rille: Rille) -> None:
    """The words after the interpreter are rille's own, and the limits fit its supervisor's."""
    unit = _unit()
    words = _value(unit, "ExecStart").split(" -m rille ")[1].split()
    assert words == ["run", "--supervised", "/etc/rille/flight.toml"]
    watchdog_s = float(_value(unit, "WatchdogSec"))
    health = HealthConfig()
    for name in ("start", "first", "capture", "work", "finish"):
        limits = health.limits_of(name)
        unfed_s = (limits.fatal_ms - limits.warn_ms) / 1000 + _LONGEST_PAUSE_S
        assert unfed_s + watchdog_s / 2 < watchdog_s, name
    assert float(_value(unit, "TimeoutStartSec")) > health.limits_of("start").fatal_ms / 1000
    assert float(_value(unit, "TimeoutStopSec")) > health.stop_ms / 1000
    assert _value(unit, "RestartPreventExitStatus") == "2 4"


systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here: apt-get install systemd",
)


@systemd
@pytest.mark.parametrize("jetson", [False, True])
def test_systemd_accepts_the_unit_and_finds_it_safe(tmp_path: Path, jetson: bool) -> None:
    write(planned(_options(python=Path("/bin/true"), jetson=jetson)), tmp_path)
    unit = tmp_path / "etc/systemd/system/rille.service"
    text = unit.read_text()
    if jetson:  # one file, so that old and new systemd read the same
        text += (unit.parent / "rille.service.d/jetson.conf").read_text()
        unit.write_text(text)
        shutil.rmtree(unit.parent / "rille.service.d")
    done = _run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    scored = _run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    score = re.search(r"exposure level for \S+: ([\d.]+)", scored.stdout)
    assert score, scored.stderr
    assert float(score[1]) <= 4.0


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="no logrotate here")
def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    write(planned(_options(user="daemon")), tmp_path)  # a user and group of every Debian
    done = _run("logrotate", "--debug", tmp_path / "etc/logrotate.d/rille")
    assert "events.jsonl" in done.stderr
    assert "error" not in done.stderr.lower()


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_systemd_makes_the_user_and_the_groups_of_the_unit(tmp_path: Path) -> None:
    write(planned(_options()), tmp_path)
    done = _run("systemd-sysusers", f"--root={tmp_path}")
    assert (done.returncode, "gpio" in done.stderr) == (0, True), done.stderr
    assert "not a valid" not in done.stderr
    assert re.search(r"^rille:.*:/var/lib/rille:", (tmp_path / "etc/passwd").read_text(), re.M)
    groups = set(_value(_unit(), "SupplementaryGroups").split())
    assert groups - {"video", "render"} == {"gpio"}  # the two come with systemd


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=30)
