"""A bench that breaks things on purpose: frames over a real link, faults on schedule, a verdict.

`README.md` beside this file tells how to write a scenario, and how to run it against a board.
"""

from rille.hil.scenario import Expect, Fault, Scenario, read_scenarios

__all__ = ["Expect", "Fault", "Scenario", "read_scenarios"]
