"""What the doctor says of a machine, from file systems made for the test."""

from __future__ import annotations

import platform
from pathlib import Path

from rille.board import look_at_board, processor, resident_bytes


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_jetson(tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    put(tmp_path, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.0, GCID: 37537400\n")
    put(tmp_path, "sys/class/video4linux/video0/name", "vi-output, imx219 9-0010\n")
    board = look_at_board(tmp_path)
    assert board.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert board.jetpack == "R36.4.0"
    assert board.cameras == (("v4l2:///dev/video0", "vi-output, imx219 9-0010"),)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    board = look_at_board(tmp_path)
    assert (board.model, board.jetpack, board.cameras) == ("", "", ())


def test_this_machine() -> None:
    board = look_at_board()
    assert all(uri.startswith("v4l2:///dev/video") for uri, _ in board.cameras)


def test_the_board_is_named_before_its_processor(tmp_path: Path) -> None:
    assert processor(tmp_path) == platform.machine()
    put(tmp_path, "proc/cpuinfo", "processor : 0\nmodel name\t: A core at 2 GHz\n")
    assert processor(tmp_path) == "A core at 2 GHz"
    put(tmp_path, "proc/device-tree/model", "A board\0")
    assert processor(tmp_path) == "A board"


def test_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    kept = bytearray(b"x" * 50_000_000)
    assert resident_bytes() - before > 40_000_000
    assert len(kept) == 50_000_000
