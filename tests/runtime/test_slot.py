"""The newest frame wins, and every loser is handed back."""

from __future__ import annotations

import threading
import time

from rille.slot import LatestSlot


def test_the_newest_replaces_what_nobody_took() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert slot.put(1) is None
    assert slot.put(2) == 1
    assert slot.take(0) == 2
    assert slot.take(0) is None


def test_closing_gives_back_the_last_and_refuses_more() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    assert slot.close() == 1
    assert slot.put(2) == 2
    assert slot.take(0) is None


def test_a_waiting_taker_is_woken() -> None:
    slot: LatestSlot[int] = LatestSlot()
    threading.Timer(0.05, slot.put, [5]).start()
    start = time.monotonic()
    assert slot.take(5.0) == 5
    assert time.monotonic() - start < 2.0


def test_nothing_is_lost_between_threads() -> None:
    slot: LatestSlot[int] = LatestSlot()
    seen: list[int] = []
    lost: list[int] = []

    def produce() -> None:
        for k in range(2000):
            replaced = slot.put(k)
            if replaced is not None:
                lost.append(replaced)

    thread = threading.Thread(target=produce)
    thread.start()
    while thread.is_alive():
        item = slot.take(0.01)
        if item is not None:
            seen.append(item)
    last = slot.close()
    everything = sorted([*seen, *lost, *([last] if last is not None else [])])
    assert everything == list(range(2000))
    assert seen == sorted(seen)
