"""The next images are read while the last ones are computed with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def prefetch(
    prepare: Callable[[_Key], _Value], keys: Iterable[_Key]
) -> Generator[_Value, None, None]:
    """Yield `prepare(key)` in order, computing the next one in a thread meanwhile.

    The thread ends with the generator: closing it waits for the value in preparation.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        coming: Future[_Value] | None = None
        for key in keys:
            following = pool.submit(prepare, key)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
