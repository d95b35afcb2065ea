"""The chat's event loop: it naps under a dense stream only, and loses nothing."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from qianda.tui import pacing
from qianda.tui.pacing import DENSE, NAP, SPARSE, PacedSelector, paced_loop


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that only naps move, besides the test itself."""
    clock = SimpleNamespace(now=100.0, taken=[])

    def nap(seconds: float) -> None:
        clock.taken.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=nap))
    return clock


def waking(selector: PacedSelector, clock: SimpleNamespace, every: float, times: int) -> None:
    for _ in range(times):
        selector.select(1e-9)
        clock.now += every


def test_rare_wakes_are_served_at_once_and_dense_ones_together(naps: SimpleNamespace) -> None:
    with PacedSelector() as selector:
        waking(selector, naps, every=0.02, times=100)
        assert naps.taken == []
        waking(selector, naps, every=0.0005, times=200)
        assert len(naps.taken) >= 200 - DENSE[0]
        assert max(naps.taken) <= NAP
        naps.taken.clear()
        waking(selector, naps, every=0.02, times=100)
        assert len(naps.taken) < SPARSE[0]


def test_work_that_waits_is_never_delayed(naps: SimpleNamespace) -> None:
    with PacedSelector() as selector:
        for _ in range(200):
            selector.select(0)
        assert naps.taken == []


def test_a_dense_stream_arrives_whole() -> None:
    pieces = [b"%d " % number for number in range(400)]

    async def main() -> bytes:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        _, out = await asyncio.open_connection(sock=there)

        async def send() -> None:
            for piece in pieces:
                out.write(piece)
                await asyncio.sleep(0)
            out.close()

        sending = asyncio.create_task(send())
        received = await reader.read()
        await sending
        writer.close()
        return received

    with asyncio.Runner(loop_factory=paced_loop) as runner:
        assert runner.run(main()) == b"".join(pieces)
