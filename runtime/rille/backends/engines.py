"""TensorRT engines kept on the device that built them.

An engine is worth minutes of building and fits one network, one TensorRT and one kind of GPU. Each
file says in its head what it was built for and carries the digest of its content: what was built
elsewhere, by another version, or is damaged, is never handed to TensorRT, which would crash on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rille.files import cache_folder, sink_error, write_whole

_MAGIC = b"rille-engine-1\n"
_MAX_HEAD = 4096
_MAX_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineKey:
    """What an engine, or a record of timings, was made for.

    Attributes:
        model: SHA-256 of the ONNX file; "timings" for measurements of kernels, which serve every
            network.
        precision: of the ONNX graph.
        tensorrt: version of TensorRT.
        capability: compute capability of the GPU, for example "8.7".
    """

    model: str
    precision: str
    tensorrt: str
    capability: str

    @property
    def file_name(self) -> str:
        """What the file is called."""
        return f"{self.model[:16]}-{self.precision}-trt{self.tensorrt}-sm{self.capability}.engine"


class EngineStore:
    """A folder of engines.

    Args:
        folder: where; None for `default_folder()`. It is made when the first engine is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def path(self, key: EngineKey) -> Path:
        """Return where the engine of a key lies, or would lie."""
        return self.folder / key.file_name

    def get(self, key: EngineKey) -> tuple[bytes | None, str]:
        """Return a kept engine.

        Returns:
            Its bytes and "", or None and why there is none to be used.
        """
        path = self.path(key)
        try:
            if path.stat().st_size > _MAX_BYTES:
                return None, f"{path.name} is longer than {_MAX_BYTES} bytes"
            content = path.read_bytes()
        except FileNotFoundError:
            return None, "none was built yet"
        except OSError as wrong:
            return None, f"{path} cannot be read ({wrong.strerror})"
        return _opened(content, key)

    def keep(self, key: EngineKey, content: bytes) -> Path:
        """Keep an engine in the place of an earlier one.

        Raises:
            SinkError: it cannot be written; an earlier one is untouched.
        """
        head = {**asdict(key), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        try:
            # Whoever can write here can make the runtime run what they like.
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as wrong:
            raise sink_error(self.folder, wrong) from None
        path = self.path(key)
        write_whole(path, _MAGIC + json.dumps(head).encode() + b"\n" + content)
        return path


def default_folder() -> Path:
    """Return `$RILLE_ENGINES`, else `rille/engines` in the user's cache folder."""
    named = os.environ.get("RILLE_ENGINES")
    return Path(named) if named else cache_folder() / "engines"


def _opened(content: bytes, key: EngineKey) -> tuple[bytes | None, str]:
    """Return the engine inside a file's content, or why it is not to be used."""
    end = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEAD)
    if not content.startswith(_MAGIC) or end < 0:
        return None, f"{key.file_name} is not an engine that rille kept"
    engine = content[end + 1 :]
    digest = hashlib.sha256(engine).hexdigest()
    try:
        head = json.loads(content[len(_MAGIC) : end])
        made_for = EngineKey(**{name: str(head[name]) for name in asdict(key)})
        whole = len(engine) == head["bytes"] and digest == head["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, f"{key.file_name} has a damaged head"
    if made_for != key:
        return None, f"{key.file_name} was built for something else"
    return (engine, "") if whole else (None, f"{key.file_name} is damaged")
