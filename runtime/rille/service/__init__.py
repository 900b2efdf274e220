"""rille as a service of systemd: unit, user, log rotation, example configurations.

The files beside this module are templates; a word between @ signs is filled in.
"""

from rille.service.boards import BOARDS, board_of, example
from rille.service.files import ServiceFile, below, remove, write, written
from rille.service.plan import CONFIG, STATE, WRITTEN, ServiceOptions, planned

__all__ = [
    "BOARDS",
    "CONFIG",
    "STATE",
    "WRITTEN",
    "ServiceFile",
    "ServiceOptions",
    "below",
    "board_of",
    "example",
    "planned",
    "remove",
    "write",
    "written",
]
