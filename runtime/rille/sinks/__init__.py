"""Where results and events go. A sink is named by a URI.

`jsonl://results.jsonl?max_mb=64&keep=5`, `video://annotated.mp4`, `prometheus://127.0.0.1:9464`,
`udp://HOST:PORT`, `ccsds://HOST:PORT?apid=100`, `ccsds:///path/packets.bin`.
"""

from rille.sinks.base import Sink, open_sink

__all__ = ["Sink", "open_sink"]
