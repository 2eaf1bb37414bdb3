"""The clock of a venue. Market time may be stepped; the wall clock never is."""

import time


class VenueClock:
    """Market time ("wall": the machine's, "stepped": stands still between advances) beside the wall clock."""

    def __init__(self, mode: str, start_ms: int | None = None) -> None:
        if mode not in ("wall", "stepped"):
            raise ValueError(f"a clock is wall or stepped, not {mode}")
        if mode == "stepped" and start_ms is None:
            raise ValueError("a stepped clock needs a start")
        self.mode = mode
        self._now_ms = start_ms or 0
        self.skew_ms = 0  # how far the venue's wall clock is ahead of the machine's (the fault clock_skew)

    @property
    def stepped(self) -> bool:
        return self.mode == "stepped"

    def now_ms(self) -> int:
        """Read market time, Unix ms: candles, orders, rate windows, expiry."""
        return self._now_ms if self.stepped else _machine_ms()

    def wall_ms(self) -> int:
        """Read the machine's time and the skew, Unix ms: signatures, request windows, server-time endpoints."""
        return _machine_ms() + self.skew_ms

    def advance(self, ms: int) -> int:
        """Move a stepped clock on; give the new market time. ValueError on a wall clock or backwards."""
        if not self.stepped:
            raise ValueError("a wall clock cannot be advanced")
        if ms < 0:
            raise ValueError("time goes forward only")
        self._now_ms += ms
        return self._now_ms


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000
