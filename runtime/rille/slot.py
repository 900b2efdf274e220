"""A slot for one frame: the newest replaces what nobody took yet, so lag cannot build up."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Hands the newest item from one thread to another.

    Unlike a queue it never holds more than one item: `put` returns the item it replaced, so that
    the caller can account for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Leave an item, and return the one nobody took; a closed slot returns `item` itself."""
        with self._changed:
            if self._closed:
                return item
            replaced, self._item = self._item, item
            self._changed.notify()
            return replaced

    def take(self, timeout_s: float) -> T | None:
        """Take the item, waiting for one up to `timeout_s`; None when there is none."""
        with self._changed:
            if self._item is None and not self._closed:
                self._changed.wait(timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Refuse further items, wake a waiting `take`, and return the item nobody took."""
        with self._changed:
            self._closed = True
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    @property
    def filled(self) -> bool:
        """Whether an item waits to be taken."""
        return self._item is not None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed
