"""The way to the Hub and back: what passes is waited for, never without end, and what stays is told in one line.

huggingface_hub itself tries most requests again, but not all, and waits for an answer for ever. Nothing here is ever
shown with a token.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import default_client_factory

from .errors import UserError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SILENT_SECONDS = 120.0  # without a byte, or a sign that one was taken, before a connection counts as failed
LONGEST_WAIT = 300  # seconds between two tries, whatever the Hub asks for: as long as its own limits last
WAITS = (1.0, 4.0)  # seconds before what failed as a whole is done again
TRYING_SECONDS = 30.0  # that have passed before it is not: huggingface_hub has tried long enough itself
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may pass

# What reading and pushing fail with: other libraries wrap the Hub's errors into these
FAILURES = (UserError, HTTPError, OSError, RuntimeError, ValueError)


def bound_waiting() -> None:
    """From now on no connection of huggingface_hub is waited for without end."""
    set_client_factory(_client)


def _client() -> Any:
    client = default_client_factory()
    client.timeout = SILENT_SECONDS
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks.get("response", ()), _shorten_wait]}
    return client


def _shorten_wait(response: Any) -> None:
    """What an answer asks to wait, not more than `LONGEST_WAIT`."""
    headers = response.headers
    if headers.get("retry-after", "").isdecimal() and int(headers["retry-after"]) > LONGEST_WAIT:
        headers["retry-after"] = str(LONGEST_WAIT)
    if "ratelimit" in headers:  # such as "api";r=0;t=55
        headers["ratelimit"] = re.sub(
            r"\bt=(\d+)", lambda match: f"t={min(int(match[1]), LONGEST_WAIT)}", headers["ratelimit"]
        )


def patiently(work: Callable[[], Result]) -> Result:
    """`work()`, done again after a while where the Hub was busy or the connection failed; raises its last error."""
    began = time.monotonic()
    for wait in WAITS:
        try:
            return work()
        except FAILURES as error:
            failure = passing(error)
            if failure is None or time.monotonic() - began > TRYING_SECONDS:
                raise
            logger.info("%s: trying again", _answered(failure) or "the connection to the Hub failed")
            time.sleep(wait)
    return work()


def read_from_hub(name: str, work: Callable[[], Result]) -> Result:
    """`work()`, which reads the folder or the repository `name`; done again as by `patiently`.

    Raises:
        UserError: the Hub is busy or fails, or the connection does.
    """
    if Path(name).is_dir():
        return work()
    try:
        return patiently(work)
    except FAILURES as error:
        told = _told(name, error)
        if told is None:
            raise
        raise told from None  # the chain may hold headers


def rows_from_hub(name: str, rows: Iterable[Result]) -> Iterator[Result]:
    """`rows`, which are read from `name` as they are asked for; raises as `read_from_hub`."""
    try:
        yield from rows
    except FAILURES as error:
        told = _told(name, error)
        if told is None:
            raise
        raise told from None


def _told(name: str, error: BaseException) -> UserError | None:
    """What kept `name` from being read, if it was a busy Hub or the connection."""
    failure = passing(error)
    if failure is None:
        return None
    reason = _answered(failure) or f"the connection to {constants.ENDPOINT} failed ({line(failure)})"
    return UserError(
        without_token(
            f"{name} cannot be read from the Hub: {reason}; look at the network and run the same command again later: "
            "what has arrived stays"
        )
    )


def passing(error: BaseException) -> BaseException | None:
    """What of `error` and all that led to it is a fault of the connection or a busy Hub; None if nothing."""
    for each in _chain(error):
        if isinstance(each, OfflineModeIsEnabled):
            return None
        if isinstance(each, HfHubHTTPError):
            if each.response.status_code in BUSY:
                return each
        elif isinstance(each, (HTTPError, ConnectionError, TimeoutError)):
            return each
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it was raised from or after, also where that is not to be shown."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and not any(each is other for other in seen):
            seen.append(each)
            yield each
            waiting += [each.__cause__, each.__context__]


def _answered(error: BaseException) -> str:
    """What the Hub answered, if it did."""
    return f"the Hub fails ({error.response.status_code})" if isinstance(error, HfHubHTTPError) else ""


@contextlib.contextmanager
def told_plainly(repo: str, endpoint: str) -> Iterator[None]:
    """What goes wrong in writing to the Hub as a UserError, without the token."""
    try:
        yield
    except UserError:
        raise
    except FAILURES as error:
        raise UserError(without_token(_reason(error, repo, endpoint))) from None  # the chain may hold headers


def _reason(error: BaseException, repo: str, endpoint: str) -> str:
    # an upload that fails comes as a RuntimeError, and what happened as its cause
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for each in causes:
        if isinstance(each, HfHubHTTPError):
            return _answer(each, repo)
        if isinstance(each, OfflineModeIsEnabled):
            return "the Hub is switched off: HF_HUB_OFFLINE is set; unset it and run the same command again"
        if isinstance(each, UnicodeEncodeError):  # of a header
            return "the token holds characters that no token has: look at HF_TOKEN, or run `hf auth login`"
        if isinstance(each, (HTTPError, ConnectionError, TimeoutError)):
            return (
                f"the connection to {endpoint} failed: {line(each)}; look at the network and run the same command "
                "again: what has arrived stays"
            )
    return f"pushing to {repo} failed: {line(causes[-1])}"


def _answer(error: HfHubHTTPError, repo: str) -> str:
    """What the Hub's answer means and what to do."""
    status = error.response.status_code
    if status == 401:
        have = "does not accept the token" if get_token() else "asks for a token"
        return f"the Hub {have} (401): run `hf auth login`, or set HF_TOKEN to a token that may write"
    if status == 403:
        return f"the Hub does not let this token write to {repo} (403): use one with write access, or another --repo"
    if status == 404:
        return f"{repo} is not there, or this token may not see it (404): look at --repo and --revision"
    if status in (409, 412):
        return f"somebody else changed {repo} meanwhile ({status}): run the same command again"
    if status == 429 or status >= 500:
        return f"the Hub fails ({status}): run the same command again later; what has arrived stays"
    return f"the Hub refuses ({status}): {(error.server_message or line(error))[:300]}"


def line(error: BaseException) -> str:
    """An error's message in one line of at most 300 letters, or its name."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def without_token(message: str) -> str:
    """`message` in one line, with dots in the token's place."""
    token = get_token()
    return " ".join((message.replace(token, "...") if token else message).split())
