"""Benchmarks of a pipeline on the device itself: beside its floor, at a rate, for long.

`Bench` loads everything once; `rille bench` is its command.
"""

from rille.bench.baseline import check_same, read_baseline
from rille.bench.cold import start_cold
from rille.bench.frames import rendered
from rille.bench.machine import look_at_machine, read_moment
from rille.bench.record import BenchRecord
from rille.bench.session import Bench
from rille.bench.write import write_bench
from rille.board import processor

__all__ = [
    "Bench",
    "BenchRecord",
    "check_same",
    "look_at_machine",
    "processor",
    "read_baseline",
    "read_moment",
    "rendered",
    "start_cold",
    "write_bench",
]
