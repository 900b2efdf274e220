"""`make arm64`: what can be proved of rille on 64-bit ARM without a board.

Nothing here is ever timed: an emulator's time says nothing of a board's. See README.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from release.environments import make, only_installed
from release.tools import ROOT, FailedError, checked
from release.wheel import build
from tests.aarch64.machine import CPUS, ArmRoot, CannotError, Cpu, check_machine, enable_emulation
from tests.aarch64.tests_there import DESELECTED, EVERYWHERE, FILES, WHOLE_ON
from tests.aarch64.wheels import check_wheels
from tests.requirements import TABLE

SKIPPED = 77
_HERE = Path(__file__).resolve().parent
_PYTHON = "/usr/bin/python3"
_MODEST = ("--set", "engine.networks=sequential", "--set", "engine.threads=1")
_EXACT = ("--set", "engine.backend=litert-exact", "--set", "engine.networks=sequential")
_RECORDINGS: dict[str, tuple[str, ...]] = {"fast": (), "exact": _EXACT}
"""Name -> options of a run that is recorded here, to be worked on again there."""
_BARE = ("--set", "output.video=false", "--set", "output.report=false")
_EXTRAS = "signing,record,video,ccsds"
"""Without onnx: rille's default engine is LiteRT, and a second one doubles what is installed."""
_LIMIT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The root, and the folder in it that both sides see.

    Attributes:
        root: where emulated programs run.
        shared: the folder, as seen from here; `/proof` there.
        native: an interpreter of this machine with the same wheel.
    """

    root: ArmRoot
    shared: Path
    native: Path

    def here(self, *words: str) -> str:
        """Run the native interpreter in the shared folder."""
        return checked([str(self.native), *words], folder=self.shared, environment=only_installed())

    def there(self, cpu: Cpu, *words: str, folder: str = "/proof") -> str:
        """Run the emulated interpreter; raise `FailedError` if it fails."""
        try:
            done = self.root.run(cpu, [_PYTHON, *words], folder=folder, limit_s=_LIMIT_S)
        except subprocess.TimeoutExpired:
            why = f"did not end within {_LIMIT_S:g} s"
            raise FailedError(f"{cpu.name}: `python {' '.join(words)}` {why}") from None
        if done.returncode != 0:
            raise FailedError(
                f"{cpu.name}: `python {' '.join(words)}` ended with {done.returncode}:\n"
                f"{done.stdout[-6000:]}"
            )
        return done.stdout


def main(words: Sequence[str]) -> int:
    """Prove what can be proved. Returns 0, 1 with what failed, or 77 if it cannot be tried here."""
    options = _parse(words)
    try:
        check_wheels()
        check_machine()
        enable_emulation()
        root = ArmRoot(options.cache)
        root.bootstrap()
        with tempfile.TemporaryDirectory() as scratch:
            proof = _prepare(root, Path(scratch), options.frames)
        held = _prove_all(proof, options)
    except CannotError as wrong:
        print(f"arm64: SKIPPED, because {wrong}", file=sys.stderr)
        return SKIPPED
    except FailedError as wrong:
        print(f"arm64: FAILED, {wrong}", file=sys.stderr)
        return 1
    if not all(held):
        print("arm64: FAILED, see above", file=sys.stderr)
        return 1
    print("arm64: all of this held, on emulated processors; nothing was timed")
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.aarch64.prove", description=__doc__)
    names = [cpu.name for cpu in CPUS]
    parser.add_argument("cpu", nargs="*", default=names, help=f"of {', '.join(names)}")
    parser.add_argument("--frames", type=int, default=3, help="to compare, of each network")
    parser.add_argument("--no-tests", action="store_true", help="leave the runtime's tests out")
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rille-arm64"
    parser.add_argument("--cache", type=Path, default=kept, help="folder that keeps the root")
    options = parser.parse_args(words)
    unknown = sorted(set(options.cpu) - set(names))
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(names)}")
    return options


def _prepare(root: ArmRoot, scratch: Path, frames: int) -> Proof:
    """Build the wheel, install it on both sides, and do here what is to be done again there."""
    (wheel,) = build(ROOT, scratch, wheel_only=True)
    installed = root.install(wheel, _EXTRAS)
    print(f"{wheel.name} and {len(installed.splitlines())} packages installed for aarch64")
    native = make("arm64-native", Path(sys.executable), [f"rille[{_EXTRAS}] @ {wheel.as_uri()}"])
    shared = root.path / "proof"
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir()
    shutil.copytree(ROOT / "tests", shared / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", shared)
    (shared / "docs").mkdir()
    shutil.copy(TABLE, shared / "docs")  # read at the end of every session of tests
    proof = Proof(root=root, shared=shared, native=native)
    proof.here(str(_HERE / "pictures.py"), "images", str(frames))
    proof.here(str(_HERE / "answers.py"), "images", "expected.npz")
    source = ["--source", "images://images?limit=2"]
    patient = ["--budget-ms", "600000"]
    for name, options in _RECORDINGS.items():
        proof.here("-m", "rille", "record", *source, "--out", name, *patient, *options, *_BARE)
    return proof


def _prove_all(proof: Proof, options: argparse.Namespace) -> list[bool]:
    """Do everything on every processor, as many at a time as this machine has cores."""
    asked = [cpu for cpu in CPUS if cpu.name in options.cpu]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda cpu: _prove(proof, cpu, options), asked))


def _prove(proof: Proof, cpu: Cpu, options: argparse.Namespace) -> bool:
    """Do everything on one processor; one step that fails does not keep the others from being done.

    Returns:
        Whether all of it held.
    """
    steps: dict[str, Callable[[Proof, Cpu], str]] = {
        "answers": _answers,
        "doctor --quick": _doctor,
        "run": _run,
        "replay": _replay,
    }
    if not options.no_tests:
        whole = WHOLE_ON if WHOLE_ON in options.cpu else options.cpu[0]
        files = FILES if cpu.name == whole else EVERYWHERE
        steps["tests"] = functools.partial(_tests, files=files)
    held = True
    for name, step in steps.items():
        try:
            told = step(proof, cpu)
        except FailedError as wrong:
            held, told = False, f"FAILED, {wrong}"
        for line in told.splitlines():
            print(f"{cpu.name}: {name}: {line}", flush=True)
    return held


def _answers(proof: Proof, cpu: Cpu) -> str:
    """Compare every number that a network is shown or gives with those of this machine."""
    found = f"{cpu.name}.npz"
    proof.there(cpu, "tests/aarch64/answers.py", "images", found)
    return proof.here(str(_HERE / "differences.py"), "expected.npz", found)


def _doctor(proof: Proof, cpu: Cpu) -> str:
    """Return the doctor's last word; it measures nothing."""
    return proof.there(cpu, "-m", "rille", "doctor", "--quick").splitlines()[-1]


def _run(proof: Proof, cpu: Cpu) -> str:
    """Run a few frames and return how they were accounted for."""
    source = ["--source", "images://images?limit=3", "--out", f"run-{cpu.name}"]
    proof.there(cpu, "-m", "rille", "run", *source, "--budget-ms", "600000", *_MODEST)
    summary = proof.shared / f"run-{cpu.name}" / "summary.json"
    account = json.loads(summary.read_text(encoding="utf-8"))["account"]
    if account["ok"] != 3:
        raise FailedError(f"{cpu.name}: rille run accounts for 3 frames as {account}")
    return f"{account['captured']} captured = {account['ok']} ok"


def _replay(proof: Proof, cpu: Cpu) -> str:
    """Replay what was recorded here; any difference is an error."""
    for name in _RECORDINGS:
        proof.there(cpu, "-m", "rille", "replay", f"{name}/run.mcap")
    return "recordings made on this machine, with fast and with exact kernels, the same to the bit"


def _tests(proof: Proof, cpu: Cpu, files: Sequence[str]) -> str:
    """Run files of the runtime's tests; return pytest's last line without its time."""
    paths = [f"tests/runtime/{name}.py" for name in files]
    left_out = [f"--deselect=tests/runtime/{name}" for name in DESELECTED]
    quick = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-seed=0"]
    told = proof.there(cpu, "-m", "pytest", *quick, *left_out, *paths)
    return f"{len(paths)} files, {told.strip().splitlines()[-1].partition(' in ')[0]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
