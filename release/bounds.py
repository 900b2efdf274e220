"""`make bounds`: the runtime's quick tests with the oldest and with the newest packages allowed.

The oldest are those that pyproject.toml names as lowest bounds, of the runtime and of its extras;
what those need in turn is as new as it may be. They are tried on the oldest Python, the newest on
the newest.
"""

from __future__ import annotations

import sys
from pathlib import Path

from release.environments import FOLDER, PYTHONS, find_python, installed
from release.matrix import EXTRAS, try_runtime
from release.tools import UV, FailedError, checked

TESTS = tuple(
    f"tests/runtime/test_{name}.py"
    for name in (
        *("budget", "bundle", "bundle_signed", "bundle_schema", "config", "ellipse", "events"),
        *("imports", "kernels", "kernels_masks", "metrics", "pipeline", "postprocess"),
        *("preprocess", "quality", "rearranged"),
        *("recording", "replay", "ring", "sinks", "sources", "sources_streams", "tracking"),
    )
)
"""Those through which every direct dependency is used, and that take seconds."""
_SHOWN = ("numpy==", "opencv-python-headless==", "ai-edge-litert==", "av==", "onnxruntime==")


def lowest(version: str) -> list[str]:
    """Return the lowest allowed version of each direct dependency and extra, as `name==version`.

    Raises:
        FailedError: some bound cannot be met under this Python.
    """
    extras = [f"--extra={extra}" for extra in EXTRAS.split(",")]
    quiet = ["--quiet", "--no-header", "--no-annotate", "--python-version", version]
    found = [*quiet, "--resolution", "lowest-direct", "--only-binary", ":all:", "pyproject.toml"]
    return checked([*UV, "pip", "compile", *extras, *found]).split("\n")[:-1]


def main() -> int:
    """Try both ends; return 1 if a test failed at one."""
    failed = False
    for end, version in (("lowest", PYTHONS[0]), ("newest", PYTHONS[-1])):
        python = find_python(version)
        if python is None:
            print(f"{end}: SKIPPED, because no Python {version} is here and none could be fetched")
            continue
        try:
            options = _constraints(lowest(version)) if end == "lowest" else ["--upgrade"]
            told = try_runtime(end, python, *options, tests=["-n", "2", "-m", "not slow", *TESTS])
        except FailedError as wrong:
            failed = True
            print(f"{end}: FAILED, {wrong}", flush=True)
            continue
        held = installed(FOLDER / end / "bin" / "python")
        shown = ", ".join(line for line in held if line.startswith(_SHOWN))
        print(f"{end} (Python {version}): good, {told}\n    {shown}", flush=True)
    return int(failed)


def _constraints(pins: list[str]) -> list[str]:
    path = Path(FOLDER) / "lowest.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(pins) + "\n", encoding="utf-8")
    return ["--constraint", str(path)]


if __name__ == "__main__":
    sys.exit(main())
