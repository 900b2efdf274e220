"""The ARM proof itself: it skips aloud, leaves no test file unmentioned, and sees one wrong bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.aarch64.differences import differences
from tests.aarch64.machine import CPUS, CannotError, Cpu, check_machine
from tests.aarch64.tests_there import (
    DESELECTED,
    EVERYWHERE,
    FILES,
    LEFT_OUT,
    WHOLE_ON,
)

RUNTIME = Path(__file__).parent / "runtime"


def tools(folder: Path, *names: str) -> str:
    """Make programs of these names and return where they are."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_missing_tools_are_named_with_the_line_that_installs_them(tmp_path: Path) -> None:
    path = tools(tmp_path, "unshare", "chroot", "update-binfmts", "qemu-aarch64-static")
    with pytest.raises(CannotError, match=r"^mmdebstrap cannot be found: sudo apt install qemu"):
        check_machine(path=path, uid=0, machine="x86_64")


def test_without_root_rights_it_says_so(tmp_path: Path) -> None:
    names = ("unshare", "chroot", "update-binfmts", "qemu-aarch64-static", "mmdebstrap")
    path = tools(tmp_path, *names)
    with pytest.raises(CannotError, match="sudo make arm64"):
        check_machine(path=path, uid=1000, machine="x86_64")
    check_machine(path=path, uid=0, machine="x86_64")
    with pytest.raises(CannotError, match="make test is the proof"):
        check_machine(path=path, uid=0, machine="aarch64")


def test_every_test_file_of_the_runtime_is_run_or_has_a_reason() -> None:
    there = sorted([*FILES, *LEFT_OUT])
    assert there == sorted(path.stem for path in RUNTIME.glob("test_*.py"))
    assert set(EVERYWHERE) < set(FILES) and WHOLE_ON in {cpu.name for cpu in CPUS}
    for left_out in DESELECTED:
        file, _, name = left_out.partition("::")
        assert (
            Path(file).stem in FILES
            and f"def {name.partition('[')[0]}(" in (RUNTIME / file).read_text()
        )
    assert all(reason for reason in [*LEFT_OUT.values(), *DESELECTED.values()])


def test_one_wrong_number_is_seen() -> None:
    expected = {"a/0/input": np.zeros(4, np.int8), "a/0/mask": np.arange(6, dtype=np.int8)}
    lines, same = differences(expected, {k: v.copy() for k, v in expected.items()})
    assert same and lines == ["a: 4 input numbers, 0 mismatches; 6 output numbers, 0 mismatches"]
    found = {k: v.copy() for k, v in expected.items()}
    found["a/0/mask"][3] += 2
    lines, same = differences(expected, found)
    assert not same and "6 output numbers, 1 mismatches up to 2 steps" in lines[0]


def test_an_input_that_differs_is_seen_even_if_the_answer_does_not() -> None:
    expected = {"a/0/input": np.zeros(4, np.int8), "a/0/mask": np.arange(6, dtype=np.int8)}
    found = {**expected, "a/0/input": np.array([0, 1, 0, 0], np.int8)}
    lines, same = differences(expected, found)
    assert not same and "4 input numbers, 1 mismatches up to 1 steps; 6 output" in lines[0]


def test_an_answer_that_is_missing_or_of_another_type_is_no_agreement() -> None:
    expected = {"a/0/input": np.zeros(4, np.int8), "a/0/mask": np.arange(6, dtype=np.int8)}
    assert not differences(expected, {"a/0/input": expected["a/0/input"]})[1]
    assert not differences(expected, {**expected, "a/0/mask": np.arange(6, dtype=np.uint8)})[1]
    assert not differences({}, {})[1]


@pytest.mark.parametrize("cpu", CPUS, ids=lambda cpu: cpu.name)
def test_a_processor_is_described_as_linux_would(cpu: Cpu) -> None:
    text = cpu.describe(cores=2)
    assert text.count("CPU part\t: 0xd") == 2
    assert "processor\t: 1\n" in text
