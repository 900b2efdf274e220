"""Which crater a point of the ground lies in, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.craters import Craters


class Outlines:
    """Looks up the youngest crater around a point: by raster, and by formula near an outline.

    A cell that no outline crosses knows its crater. A cell that some outline crosses keeps the
    list of craters that may hold a point of it, and points there are tested against each.

    Args:
        craters: oldest first; younger ones own what they overlap.
        cells: cells along a side.
        cell_m: side of a cell in metres.
        corner_m: both coordinates of the first cell's centre.
    """

    def __init__(self, craters: Craters, cells: int, cell_m: float, corner_m: float) -> None:
        self.craters = craters
        self.cell_m, self.corner_m = cell_m, corner_m
        owner = np.zeros((cells, cells), np.int32)
        crossed: list[NDArray[np.intp]] = []
        by: list[NDArray[np.int32]] = []
        for k in range(len(craters)):
            found = self._cells_of(k, cells)
            if found is None:
                continue
            window, radius, slack = found
            inside = radius < 1 - slack
            edge = ~inside & (radius < 1 + slack)
            owner[window][inside] = k + 1
            rows, columns = np.nonzero(edge)
            flat = (rows + window[0].start) * cells + columns + window[1].start
            crossed.append(flat)
            by.append(np.full(len(flat), k, np.int32))
        self._owner = owner
        self._lists = self._candidates(crossed, by)

    def _cells_of(
        self, k: int, cells: int
    ) -> tuple[tuple[slice, slice], NDArray[np.float64], float] | None:
        """Return the window around a crater, each cell's distance in radii, and half a cell."""
        c = self.craters
        reach = c.reach_m[k] / self.cell_m + 2
        x, y = (c.x_m[k] - self.corner_m) / self.cell_m, (c.y_m[k] - self.corner_m) / self.cell_m
        left, right = max(0, int(x - reach)), min(cells, int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(cells, int(y + reach) + 2)
        if left >= right or top >= bottom:
            return None
        across = self.corner_m + self.cell_m * np.arange(left, right, dtype=np.float64)
        down = self.corner_m + self.cell_m * np.arange(top, bottom, dtype=np.float64)
        x_m, y_m = np.meshgrid(across, down)
        radius = c.radii(np.array(k), x_m, y_m)
        # The corner of a cell is 0.71 cells from its centre; lobes steepen the radius.
        a3, a5 = np.abs(c.lobes[k, 0]), np.abs(c.lobes[k, 2])
        steepness = (1 + 3 * a3 + 5 * a5) / (1 - a3 - a5) ** 2
        slack = 0.71 * steepness * self.cell_m / (c.diameter_m[k] / 2 * np.sqrt(c.ratio[k]))
        return (slice(top, bottom), slice(left, right)), radius, float(slack)

    def _candidates(
        self, crossed: list[NDArray[np.intp]], by: list[NDArray[np.int32]]
    ) -> NDArray[np.int32]:
        """Mark crossed cells in the raster by -1 - row of the returned lists, youngest first."""
        if not crossed:
            return np.zeros((0, 1), np.int32)
        cell, crater = np.concatenate(crossed), np.concatenate(by)
        order = np.lexsort((-crater, cell))
        cell, crater = cell[order], crater[order]
        places, start, count = np.unique(cell, return_index=True, return_counts=True)
        lists = np.full((len(places), int(count.max()) + 1), -1, np.int32)
        row = np.repeat(np.arange(len(places)), count)
        lists[row, np.arange(len(cell)) - np.repeat(start, count)] = crater
        # Last comes the crater whose inside the whole cell is, unless a younger one's edge owns it.
        lists[:, -1] = self._owner.ravel()[places] - 1
        self._owner.ravel()[places] = -1 - np.arange(len(places))
        return lists

    def at(self, x_m: NDArray[np.float32], y_m: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the index of the youngest crater around each point, or -1.

        Args:
            x_m, y_m: (n,) points; outside the raster there is none.
        """
        cells = len(self._owner)
        column = np.rint((x_m - self.corner_m) / self.cell_m).astype(np.int32)
        row = np.rint((y_m - self.corner_m) / self.cell_m).astype(np.int32)
        inside = (column >= 0) & (row >= 0) & (column < cells) & (row < cells)
        owner = np.zeros(len(x_m), np.int32)
        owner[inside] = self._owner[row[inside], column[inside]]
        found = owner - 1
        (edge,) = np.nonzero(owner < 0)
        if len(edge):
            found[edge] = self._test(edge, -1 - owner[edge], x_m, y_m)
        return found

    def _test(
        self,
        edge: NDArray[np.intp],
        row: NDArray[np.int32],
        x_m: NDArray[np.float32],
        y_m: NDArray[np.float32],
    ) -> NDArray[np.int32]:
        """Return the youngest crater of the cell's list that holds the point."""
        lists = self._lists[row]
        found = lists[:, -1].copy()
        x, y = x_m[edge].astype(np.float64), y_m[edge].astype(np.float64)
        # From the oldest to the youngest, so that the youngest has the last word.
        for column in range(lists.shape[1] - 2, -1, -1):
            k = lists[:, column]
            some = k > found
            held = self.craters.radii(k[some], x[some], y[some]) <= 1
            where = np.nonzero(some)[0][held]
            found[where] = k[where]
        return found
