"""A simulated lunar descent: procedural craters by published laws, exact truth, seeded."""

from rille.sim.descent import Descent
from rille.sim.scene import Scene, build_scene

__all__ = ["Descent", "Scene", "build_scene"]
