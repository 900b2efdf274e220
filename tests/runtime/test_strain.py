"""What strains a machine, from file systems made for the test, and when it counts as strained."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from rille.board import Board
from rille.cli.board_check import missing_tools, strain_facts, strain_troubles
from rille.events import EventLog
from rille.strain import Strain, ask_firmware, read_strain
from rille.strain_watch import StrainWatch


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def strain_of(root: Path, vcgencmd: str = "") -> Strain:
    return read_strain(root, vcgencmd=lambda: vcgencmd)


def zone(root: Path, number: int, temp: str, **trips: str) -> None:
    folder = f"sys/class/thermal/thermal_zone{number}"
    put(root, **{f"{folder}/temp": temp})
    for k, (kind, trip) in enumerate(trips.items()):
        put(root, **{f"{folder}/trip_point_{k}_type": kind, f"{folder}/trip_point_{k}_temp": trip})


def test_the_zone_nearest_to_its_trip_point_counts(tmp_path: Path) -> None:
    zone(tmp_path, 0, "71000\n", critical="110000", passive="95000\n", hot="90000", active="40000")
    zone(tmp_path, 1, "60000\n", passive="65000")
    zone(tmp_path, 2, "99000\n")
    zone(tmp_path, 3, "-256000\n", passive="1000")
    zone(tmp_path, 4, "30000", passive="0", hot="-274000")
    strain = strain_of(tmp_path)
    assert (strain.celsius, strain.trip_celsius) == (60.0, 65.0)


def test_the_hottest_zone_where_none_has_a_trip_point(tmp_path: Path) -> None:
    zone(tmp_path, 0, "41000")
    zone(tmp_path, 1, "52000", critical="105000")
    zone(tmp_path, 2, "hot")
    strain = strain_of(tmp_path)
    assert (strain.celsius, strain.trip_celsius) == (52.0, None)


def test_a_raspberry_pi_tells_by_a_file_or_by_its_tool(tmp_path: Path) -> None:
    said = strain_of(tmp_path, "throttled=0x50005\n")
    assert said.throttled == ("under-voltage", "throttled")
    assert said.throttled_before == ("under-voltage", "throttled")
    put(tmp_path, **{"sys/devices/platform/soc/soc:firmware/get_throttled": "80008\n"})
    read = strain_of(tmp_path, "throttled=0x1")
    assert read.throttled == ("soft temperature limit",) == read.throttled_before


@pytest.mark.parametrize("text", ["", "VCHI initialization failed", "throttled=0xzz", "=0x5"])
def test_what_a_tool_says_else_means_nothing(tmp_path: Path, text: str) -> None:
    assert strain_of(tmp_path, text).throttled == ()


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    began = time.monotonic()
    assert ask_firmware() == ""
    assert time.monotonic() - began < 20


CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 1.0),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
                "sys/fs/cgroup/a/cpu.max": "20000 100000\n",
            },
            0.2 / CORES,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/x\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            0.5 / CORES,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1.0,
        ),
        ({"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "10000000 1000"}, 1.0),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "many few lots"}, 1.0),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "1 0"}, 1.0),
        ({}, None),
    ],
)
def test_the_share_of_the_processor(
    tmp_path: Path, files: dict[str, str], share: float | None
) -> None:
    put(tmp_path, **files)
    assert strain_of(tmp_path).cpu_share == (None if share is None else pytest.approx(share))


def rail(root: Path, chip: str, channel: int, label: str, volts: str, amperes: str) -> None:
    folder = f"sys/class/hwmon/{chip}"
    put(
        root,
        **{
            f"{folder}/name": "ina3221\n",
            f"{folder}/in{channel}_label": label + "\n",
            f"{folder}/in{channel}_input": volts + "\n",
            f"{folder}/curr{channel}_input": amperes + "\n",
        },
    )


def test_the_power_of_a_jetson(tmp_path: Path) -> None:
    rail(tmp_path, "hwmon1", 1, "VDD_IN", "5000", "1480")
    rail(tmp_path, "hwmon1", 2, "VDD_CPU_GPU_CV", "5000", "600")
    put(tmp_path, **{"sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages"})
    put(tmp_path, **{"sys/class/hwmon/hwmon1/in7_input": "12"})
    put(tmp_path, **{"sys/class/hwmon/hwmon0/name": "amdgpu"})
    put(tmp_path, **{"sys/class/hwmon/hwmon0/power1_input": "90000000"})
    assert strain_of(tmp_path).power_w == pytest.approx(7.4)


def test_rails_are_added_where_none_feeds_them_all(tmp_path: Path) -> None:
    rail(tmp_path, "hwmon1", 1, "VDD_GPU_SOC", "5000", "1000")
    rail(tmp_path, "hwmon1", 2, "VDD_CPU_CV", "5000", "400")
    rail(tmp_path, "hwmon1", 3, "NC", "5000", "400")
    rail(tmp_path, "hwmon2", 1, "VIN_SYS_5V0", "5000", "-3")
    assert strain_of(tmp_path).power_w == pytest.approx(7.0)


def test_a_monitor_that_gives_watts_itself(tmp_path: Path) -> None:
    put(tmp_path, **{"sys/class/hwmon/hwmon3/name": "ina226"})
    put(tmp_path, **{"sys/class/hwmon/hwmon3/power1_input": "4250000"})
    put(tmp_path, **{"sys/class/hwmon/hwmon3/in1_input": "5000"})
    put(tmp_path, **{"sys/class/hwmon/hwmon3/curr1_input": "850"})
    assert strain_of(tmp_path).power_w == pytest.approx(4.25)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert strain_of(tmp_path) == Strain()


def test_this_machine() -> None:
    strain = read_strain()
    assert strain.cpu_share is None or 0 < strain.cpu_share <= 1


def reason_of(watch: StrainWatch) -> str | None:
    assert watch.strained == (watch.reason is not None)
    return watch.reason


def test_heat_strains_and_must_go_well_back() -> None:
    events = EventLog()
    watch = StrainWatch(events)
    for celsius in (80.0, 94.9):
        watch.look(Strain(celsius=celsius, trip_celsius=100.0))
        assert not reason_of(watch)
    watch.look(Strain(celsius=95.0, trip_celsius=100.0))
    assert reason_of(watch) == "hot: 95 C, slowed down at 100 C"
    for _ in range(20):
        watch.look(Strain(celsius=90.5, trip_celsius=100.0))
    assert reason_of(watch)
    for _ in range(4):
        watch.look(Strain(celsius=89.0, trip_celsius=100.0))
    assert reason_of(watch)
    watch.look(Strain(celsius=89.0, trip_celsius=100.0))
    assert not reason_of(watch)
    assert [event.id for event in events.recent] == ["BOARD_STRAINED", "BOARD_RELIEVED"]
    assert events.recent[0].values == {"celsius": 95.0, "trip_celsius": 100.0}


def test_throttling_strains_until_it_has_been_away_for_a_while() -> None:
    events = EventLog()
    watch = StrainWatch(events)
    for k in range(40):  # a power supply that is too weak flickers
        watch.look(Strain(throttled=("under-voltage",) if k % 4 == 0 else ()))
    assert watch.reason == "throttled: under-voltage"
    assert events.counts == {"BOARD_STRAINED": 1}


def test_power_strains_only_where_a_limit_is_given() -> None:
    free, limited = StrainWatch(EventLog()), StrainWatch(EventLog(), max_watt=10)
    for watch in (free, limited):
        watch.look(Strain(power_w=10.1))
    assert not reason_of(free) and reason_of(limited) == "power: 10.1 W of 10 W permitted"
    for _ in range(9):
        limited.look(Strain(power_w=9.5))
    assert reason_of(limited)
    for _ in range(5):
        limited.look(Strain(power_w=8.9))
    assert not reason_of(limited)


def test_a_reading_that_hangs_holds_nobody_up() -> None:
    hang = threading.Event()

    def read() -> Strain:
        hang.wait(60)
        return Strain(throttled=("throttled",))

    with StrainWatch(EventLog(), read=read, every_s=0.01) as watch:
        began = time.monotonic()
        for _ in range(1000):
            assert watch.reason is None
    assert time.monotonic() - began < 10
    hang.set()


def test_the_thread_reads_again_and_again() -> None:
    readings = iter([Strain(), Strain(throttled=("throttled",))])
    seen = threading.Event()

    def read() -> Strain:
        strain = next(readings, None)
        if strain is None:
            seen.set()
        return strain or Strain(throttled=("throttled",))

    with StrainWatch(EventLog(), read=read, every_s=0.01) as watch:
        assert seen.wait(30)
        assert watch.reason == "throttled: throttled"


def test_limits_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="max_watt"):
        StrainWatch(EventLog(), max_watt=0)
    with pytest.raises(ValueError, match="every_s"):
        StrainWatch(EventLog(), every_s=0)


def test_the_doctor_says_what_to_mend() -> None:
    well = Strain(celsius=50, trip_celsius=95, cpu_share=1.0, power_w=5.04)
    assert strain_troubles(well) == [] == strain_troubles(Strain())
    assert dict(strain_facts(well)) == {
        "temperature": "50 C, slowed down at 95 C",
        "throttled": "nothing reported",
        "cpu quota": "none",
        "power": "5.0 W",
    }
    assert dict(strain_facts(Strain())) == {
        "temperature": "unknown",
        "throttled": "nothing reported",
        "cpu quota": "unknown",
        "power": "unknown",
    }
    ill = Strain(
        celsius=91,
        trip_celsius=95,
        throttled=("under-voltage", "throttled"),
        throttled_before=("under-voltage",),
        cpu_share=0.2 / CORES,
    )
    supply, cooling, heat, quota = strain_troubles(ill)
    assert supply == "throttled: under-voltage: use a better power supply and a shorter cable"
    assert "cool" in cooling and "95 C" in heat and "CPUQuota=" in quota
    facts = dict(strain_facts(ill))
    assert facts["throttled"].endswith("(since it was switched on: under-voltage)")
    assert facts["cpu quota"] == f"0.2 of {CORES} cores' time"


@pytest.mark.parametrize(
    ("model", "tools", "package"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", {}, "rpicam-apps"),
        ("NVIDIA Jetson Orin Nano Developer Kit", {}, "gstreamer1.0-tools"),
        ("Raspberry Pi 5 Model B Rev 1.0", {"libcamera": "rpicam-vid"}, None),
        ("", {}, None),
    ],
)
def test_a_vendors_program_that_is_missing(
    model: str, tools: dict[str, str], package: str | None
) -> None:
    board = Board(model=model, jetpack="", cameras=(), tools=tools)
    advice = missing_tools(board)
    assert (len(advice) == 1 and package in advice[0]) if package else not advice
