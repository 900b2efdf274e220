"""Health: heartbeats of a run, the parent process that watches them, the word to systemd.

Nothing here imports NumPy, OpenCV or an engine: the parent must stay up where they fall.
"""
