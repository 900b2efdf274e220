"""Cameras and streams, each read in a process of its own that can hang or crash without harm."""
