"""Trying again: what follows a failed attempt at a reply, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from time import monotonic

from qianda.models.errors import ServerError
from qianda.models.failures import worth_another_try

ATTEMPTS = 4
LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    """The request failed and is made again after ``wait`` seconds.

    Args:
        error: what went wrong.
        attempt: the attempt that comes now, from 2.
        wait: seconds.
        discard: the pieces given so far are void.
    """

    error: ServerError
    attempt: int
    wait: float
    discard: bool


class Attempts:
    """The attempts at one reply.

    Args:
        seconds: for all of them together.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self.mended = False
        """The request was changed once after a refusal; the attempt that was refused does not count."""
        self._number = 1

    @property
    def last(self) -> bool:
        """No other follows the one that is going on."""
        return self._number - self.mended >= ATTEMPTS

    def again(self, error: ServerError, *, mended: bool, discard: bool) -> Retry:
        """The attempt after a failed one.

        Args:
            error: the failure.
            mended: the request was changed and may pass now.
            discard: pieces were given.

        Raises:
            ServerError: the failure itself, when no attempt is left, or none is worth it.
        """
        wait = 0.0 if mended else wait_after(self._number, error)
        if mended:
            self.mended = True
        elif self.last or monotonic() + wait > self.deadline or not worth_another_try(error):
            raise error
        self._number += 1
        return Retry(error, self._number, wait, discard)


def wait_after(attempt: int, error: ServerError) -> float:
    """Seconds before the next attempt: what the server asked for, else exponential with jitter."""
    if error.retry_after is not None:
        return min(error.retry_after, LONGEST_WAIT)
    return min(0.5 * 2 ** (attempt - 1), 8.0) * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter, not a secret
