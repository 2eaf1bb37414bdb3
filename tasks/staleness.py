"""A run that begins long after its time is not made up for.

Prefect keeps scheduled runs while no worker is there and starts them all when one comes back; it has no rule against
that (docs/prefect-ui.md#after-downtime). Yesterday's check says nothing about today, and five of them at once spend the
venue's budget.
"""

import functools
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar, cast

from prefect.context import FlowRunContext
from prefect.states import Cancelled

from services.clock import WallClock

P = ParamSpec("P")
R = TypeVar("R")

LATEST = timedelta(minutes=10)


def is_stale(due: datetime, now: datetime, runs_before: int) -> bool:
    """Whether a run that was due then may no longer begin now (wall clock, UTC). One that has run before - a retry by a
    person, or a run that waited for a person's word - is never stale.
    """
    return runs_before == 0 and now - due > LATEST


def unless_stale(flow: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let a flow end as Cancelled ("Stale") when its run begins more than ten minutes after it was due. For use below
    `@flow`; a flow that Python calls directly is due when it is called.
    """

    @functools.wraps(flow)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        context = FlowRunContext.get()
        run = context.flow_run if context else None
        if run is not None and run.expected_start_time is not None:
            due, now = run.expected_start_time, WallClock().now()
            if is_stale(due, now, max(0, run.run_count - 1)):
                told = f"due at {due:%Y-%m-%d %H:%M:%S} UTC, began at {now:%H:%M:%S}: too late, nothing was done"
                # Prefect makes the state that a flow returns the state of its run.
                return cast(R, Cancelled(name="Stale", message=told))
        return await flow(*args, **kwargs)

    return guarded
