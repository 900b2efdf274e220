"""What rille costs: single parts, side by side with other programs, and how it grows.

`make bench` runs everything and writes `RESULTS.md`. Nothing here is installed with rille.
"""
