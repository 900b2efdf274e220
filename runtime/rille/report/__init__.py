"""One self-contained page about a run: latency, timeline, labels, frames."""

from rille.report.collect import RunRecord
from rille.report.page import write_report

__all__ = ["RunRecord", "write_report"]
