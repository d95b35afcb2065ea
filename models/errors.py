"""Every error that Qianda raises, in one tree.

::

    QiandaError                   what happened, to what, and what to do next
    ├── ConfigurationError        settings, arguments or extras that are missing or contradict each other
    ├── ServerError               the model server
    │   ├── ServerUnreachable     no connection, or it broke and stayed broken
    │   │   └── NoServer          none was named and none answers on this machine
    │   ├── ServerRefused         wrong key, unknown model, a request that it does not take
    │   ├── ServerOverloaded      429 or 5xx that outlasted the retries
    │   ├── QuotaExceeded         billing or allowance: waiting does not help
    │   └── ContextTooLong        prompt and output do not fit the context window
    ├── ModelOutputError          the model's reply could not be understood, or there was none
    ├── ToolError                 a tool failed; its text is what the model is told
    ├── PermissionDenied          a rule or a person said no
    ├── LimitReached              one of the run's limits; carries the partial result
    └── JournalError              the record could not be written or read
"""

from __future__ import annotations

from typing import Any


class QiandaError(Exception):
    """Base of every error of this package.

    Args:
        message: what happened, to what; one sentence without a full stop where it can be.
        cure: what the person can do next, or "".
    """

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}. {self.cure}" if self.cure else self.message


class ConfigurationError(QiandaError):
    """Settings, arguments or extras that are missing or contradict each other."""


class ServerError(QiandaError):
    """The model server did not do what was asked.

    Args:
        status: HTTP status code, or None when there was no answer.
        retry_after: seconds that the server asked to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        cure: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, cure=cure)
        self.status = status
        self.retry_after = retry_after


class ServerUnreachable(ServerError):
    """No connection could be made, or it broke and stayed broken."""


class NoServer(ServerUnreachable):
    """No model server was named, and none answers on this machine."""


class ServerRefused(ServerError):
    """The server understood and said no: wrong key, unknown model, a request that it does not take."""


class ServerOverloaded(ServerError):
    """Too many requests or a fault of the server (429, 5xx); worth another try."""


class QuotaExceeded(ServerError):
    """A bill or an allowance: waiting does not help."""


class ContextTooLong(ServerError):
    """The prompt and the wanted output do not fit the context window.

    Args:
        window: tokens that fit, as the server said; None when it did not.
        prompt: tokens of the prompt, likewise; None also where it only said "at least".
    """

    def __init__(
        self,
        message: str,
        *,
        cure: str = "",
        status: int | None = None,
        window: int | None = None,
        prompt: int | None = None,
    ) -> None:
        super().__init__(message, cure=cure, status=status)
        self.window = window
        self.prompt = prompt


class ModelOutputError(QiandaError):
    """The model's reply could not be understood, or there was none."""


class ToolError(QiandaError):
    """A tool failed. Raise it in a tool to say to the model what went wrong, in one sentence."""


class PermissionDenied(QiandaError):
    """A rule or a person said no."""


class LimitReached(QiandaError):
    """A limit of the run was reached.

    Args:
        which: name of the field of ``Limits``.
        result: the ``RunResult`` up to here; set by the run.
    """

    def __init__(self, which: str, message: str, *, cure: str = "", result: Any = None) -> None:
        super().__init__(message, cure=cure)
        self.which = which
        self.result = result


class JournalError(QiandaError):
    """The record of a run could not be written or read."""
