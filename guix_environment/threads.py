"""Work that is done in a thread and not left half done."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


async def uninterrupted(
    work: Callable[_Arguments, _Result], *arguments: _Arguments.args, **keywords: _Arguments.kwargs
) -> _Result:
    """Do WORK in a thread and return its result; when cancelled meanwhile, wait for its end first.

    A thread cannot be ended, so what is cleaned up after a cancellation must not be done behind one's back afterwards.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **keywords))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
