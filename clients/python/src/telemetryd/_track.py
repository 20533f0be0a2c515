"""``@telemetryd.track``: an event for each call of a function, with how long it took and whether it succeeded."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._telemetry import Telemetry

    Function = TypeVar("Function", bound=Callable[..., Any])


def track(telemetry: Telemetry, event: str | None = None, **properties: Any) -> Callable[[Function], Function]:
    """Reports each call of the function that it decorates, when it ends.

    The event has ``elapsed`` (seconds, a number) and ``success`` (``False`` where the function raised), and the
    ``properties`` given here. Arguments and results are not looked at. A coroutine function is awaited first.

        @telemetryd.track(telemetry, "report built", kind="html")
        def build(): ...

    :param event: the event's name; the function's name unless given.
    """

    def decorate(function: Function) -> Function:
        import functools
        import inspect

        name = event or function.__name__

        def report(begun: float, success: bool) -> None:
            elapsed = round(time.monotonic() - begun, 6)
            telemetry.event(name, **{**properties, "elapsed": elapsed, "success": success})

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                begun, success = time.monotonic(), False
                try:
                    result = await function(*args, **kwargs)
                    success = True
                    return result
                finally:
                    report(begun, success)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            begun, success = time.monotonic(), False
            try:
                result = function(*args, **kwargs)
                success = True
                return result
            finally:
                report(begun, success)

        return called  # type: ignore[return-value]

    return decorate
