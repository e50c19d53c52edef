"""Each parser of the package's own meets its corpus, damaged copies of it, and what hypothesis thinks up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from checks import Meeting
from corpus import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS

DAMAGED = 40  # copies of each parser's first two files


def files(name: str) -> dict[str, bytes]:
    """What a parser meets."""
    seeds = PARSERS[name].seeds()
    made = dict(seeds)
    for seed in [key for key in seeds if key.startswith("good")] or list(seeds)[:2]:
        made |= {f"{seed} damaged {i}": content for i, content in enumerate(mutated(seeds[seed], DAMAGED))}
    return made


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_meets_its_corpus(name: str, here: Path, ended: Callable) -> None:
    parser, path = PARSERS[name], here / PARSERS[name].file
    meeting, cases = Meeting(name, *parser.refusals), files(name)
    for case, content in cases.items():
        path.write_bytes(content)
        meeting.meet(case, lambda: parser.parse(path), *([path.name] if parser.names_file else []))
    assert len(meeting) == len(cases)
    ended(meeting)
    assert meeting.accepted, "a parser that refuses everything shows nothing"
    if parser.refusals:
        assert len(meeting.refused) > 5


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_meets_hypothesis(name: str, here: Path) -> None:
    parser, path = PARSERS[name], here / PARSERS[name].file
    seeds = [content for content in parser.seeds().values() if len(content) < 20_000]

    def spliced(parts: tuple[bytes, int, bytes, int]) -> bytes:
        seed, place, inserted, dropped = parts
        place %= len(seed) + 1
        return seed[:place] + inserted + seed[place + dropped :]

    splices = st.tuples(st.sampled_from(seeds), st.integers(0, 20_000), st.binary(max_size=40), st.integers(0, 60))

    @settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.one_of(splices.map(spliced), st.binary(max_size=300)))
    def meet(content: bytes) -> None:
        path.write_bytes(content)
        meeting = Meeting(name, *parser.refusals)
        meeting.meet(repr(content), lambda: parser.parse(path), *([path.name] if parser.names_file else []))
        meeting.end()

    meet()


def test_there_were_enough(enough: Callable) -> None:
    enough(len(PARSERS))
