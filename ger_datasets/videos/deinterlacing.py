"""Frames of two fields, taken at different times -> frames without combs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

import av
from av.filter import Graph

Tag = TypeVar("Tag")


def deinterlaced(frames: Iterable[tuple[Tag, av.VideoFrame]]) -> Iterator[tuple[Tag, av.VideoFrame]]:
    """The same frames, those that are marked as interlaced through FFmpeg's bwdif: one frame for one frame.

    A video without interlaced frames passes as it is. From the first one on, all frames go through the filter, which
    looks one frame ahead and leaves progressive ones alone.

    Args:
        frames: in the order in which they are shown, each with whatever belongs to it.
    """
    graph: Graph | None = None
    layout, waiting = None, deque[Tag]()
    for tag, frame in frames:
        now = (frame.width, frame.height, frame.format.name)
        if graph is not None and now != layout:
            yield from _drained(graph, waiting, ended=True)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, layout = _bwdif(frame), now
        if graph is None:
            yield tag, frame
            continue
        waiting.append(tag)
        graph.push(frame)
        yield from _drained(graph, waiting)
    if graph is not None:
        yield from _drained(graph, waiting, ended=True)


def _bwdif(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _drained(graph: Graph, waiting: deque[Tag], ended: bool = False) -> Iterator[tuple[Tag, av.VideoFrame]]:
    """What the filter has ready; all the rest when no more frames follow."""
    if ended:
        graph.push(None)
    while waiting:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield waiting.popleft(), frame  # type: ignore[misc]
