"""Where results go. A sink is named by a URI: `jsonl://results.jsonl`, `video://annotated.mp4`."""

from rille.sinks.base import KeepsRun, Sink, open_sink

__all__ = ["KeepsRun", "Sink", "open_sink"]
