"""Where results go. A sink is named by a URI: `jsonl://results.jsonl`, `video://annotated.mp4`."""

from rille.sinks.base import Sink, open_sink

__all__ = ["Sink", "open_sink"]
