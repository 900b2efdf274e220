"""Recordings of runs: MCAP files with frames, results, masks and events.

Whole runs are written by the sink `mcap://FILE`, read here, and played by the source
`mcap://FILE`. Needs `pip install "rille[record]"`.
"""

from rille.recording.read import Recorded, Recording, open_recording

__all__ = ["Recorded", "Recording", "open_recording"]
