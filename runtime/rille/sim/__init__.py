"""A simulated camera on a rover or coming down from orbit: seeded, lit by physics, exactly true.

    from rille.sim import Scenario, open_simulator

    pixels, truth = open_simulator(Scenario(view="rover", terrain="mare")).frame(0)

`README.md` beside this file shows what it looks like and how it is made.
"""

from rille.sim.descent import Descent
from rille.sim.scenario import Scenario, Simulator, open_simulator
from rille.sim.scene import Scene, build_scene

__all__ = ["Descent", "Scenario", "Scene", "Simulator", "build_scene", "open_simulator"]
