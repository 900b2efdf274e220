"""Everything that is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.bytestreams import STREAMS
from tests.fuzz.files import FILES
from tests.fuzz.models import MODELS
from tests.fuzz.sockets import SOCKETS

TARGETS = {target.name: target for target in (*FILES, *STREAMS, *SOCKETS, *MODELS)}
