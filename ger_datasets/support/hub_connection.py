"""Reading from and writing to the Hub: temporary failures are retried, lasting ones become a UserError in one line.

huggingface_hub retries most requests itself, but not all of them, and it waits for an answer without a time limit.
No message holds a token.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants, get_session, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from .errors import UserError, one_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SILENT_SECONDS = 120.0  # without a byte sent or received, after which a connection counts as failed
LONGEST_WAIT = 300  # seconds between two attempts, whatever the Hub asks for: its own rate limits last that long
WAITS = (1.0, 4.0)  # seconds before a whole piece of work that failed is repeated
TRYING_SECONDS = 30.0  # after which it is not repeated: huggingface_hub has then retried long enough itself
PROBE_SECONDS = 5.0  # that a first connection may take
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP statuses of temporary failures

# What reading and pushing fail with: other libraries wrap the Hub's errors into these
FAILURES = (UserError, HTTPError, OSError, RuntimeError, ValueError)


def bound_waiting() -> None:
    """From now on every connection of huggingface_hub has a time limit, and so has every wait the Hub asks for."""
    standard = get_session()
    hooks = {**standard.event_hooks, "response": [_shorten_wait]}

    def client() -> Any:
        return type(standard)(event_hooks=hooks, follow_redirects=True, timeout=SILENT_SECONDS)

    set_client_factory(client)


def _shorten_wait(response: Any) -> None:
    """Limit the wait that an answer asks for to `LONGEST_WAIT`."""
    headers = response.headers
    if headers.get("retry-after", "").isdecimal() and int(headers["retry-after"]) > LONGEST_WAIT:
        headers["retry-after"] = str(LONGEST_WAIT)
    if "ratelimit" in headers:  # such as "api";r=0;t=55
        headers["ratelimit"] = re.sub(
            r"\bt=(\d+)", lambda match: f"t={min(int(match[1]), LONGEST_WAIT)}", headers["ratelimit"]
        )


def patiently(work: Callable[[], Result]) -> Result:
    """`work()`, repeated after a while where the Hub was busy or the connection failed; raises its last error."""
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
    """`work()`, which reads the folder or the repository `name`; repeated as by `patiently`.

    Raises:
        UserError: the Hub is busy or fails, or the connection does.
    """
    if Path(name).is_dir():
        return work()
    try:
        return patiently(work)
    except FAILURES as error:
        unreadable = _unreadable(name, error)
        if unreadable is None:
            raise
        raise unreadable from None  # the chain may hold headers


def rows_from_hub(name: str, rows: Iterable[Result]) -> Iterator[Result]:
    """`rows`, which are read from `name` lazily; raises as `read_from_hub`."""
    try:
        yield from rows
    except FAILURES as error:
        unreadable = _unreadable(name, error)
        if unreadable is None:
            raise
        raise unreadable from None


def check_reachable(name: str) -> None:
    """Ask the Hub for any answer before `name` is read from it, so that a mistyped folder does not cost a minute.

    Raises:
        UserError: `name` is no folder here, and no connection to the Hub is made within PROBE_SECONDS.
    """
    if Path(name).is_dir() or constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (HTTPError, OSError) as error:
        raise UserError(
            f"{name} cannot be read from the Hub: there is no folder {name} here; as a Hub repository it could not be "
            f"reached ({one_line(error)}): look at the name and at the network, and run the same command again later"
        ) from None


def _unreadable(name: str, error: BaseException) -> UserError | None:
    """The UserError for `name`, if a busy Hub or the connection kept it from being read."""
    failure = passing(error)
    if failure is None:
        return None
    reason = _answered(failure) or f"the connection to {constants.ENDPOINT} failed ({one_line(failure)})"
    return UserError(
        without_token(
            f"{name} cannot be read from the Hub: {reason}; look at the network and run the same command again later: "
            "what has arrived stays"
        )
    )


def passing(error: BaseException) -> BaseException | None:
    """The first of `error` and its causes that is a connection failure or a busy Hub; None if there is none."""
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
    """`error` and every error it was raised from or after, suppressed ones too."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and not any(each is other for other in seen):
            seen.append(each)
            yield each
            waiting += [each.__cause__, each.__context__]


def _answered(error: BaseException) -> str:
    """The Hub's status in words; empty if it did not answer."""
    return f"the Hub fails ({error.response.status_code})" if isinstance(error, HfHubHTTPError) else ""


@contextlib.contextmanager
def told_plainly(repo: str, endpoint: str) -> Iterator[None]:
    """Failures in writing to the Hub become a UserError, without the token."""
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
                f"the connection to {endpoint} failed: {one_line(each)}; look at the network and run the same command "
                "again: what has arrived stays"
            )
    return f"pushing to {repo} failed: {one_line(causes[-1])}"


def _answer(error: HfHubHTTPError, repo: str) -> str:
    """What the Hub's answer means, and what to do."""
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
    return f"the Hub refuses ({status}): {(error.server_message or one_line(error))[:300]}"


def without_token(message: str) -> str:
    """`message` in one line, with dots instead of the token."""
    token = get_token()
    return " ".join((message.replace(token, "...") if token else message).split())
