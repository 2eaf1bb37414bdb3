"""Ask one question of a safety step and keep the answer, yes or no, with what was seen."""

from collections.abc import Awaitable, Callable, Sequence

from exchanges.errors import VenueError
from trading.checks import Check

Question = tuple[str, Callable[[], Awaitable[str]]]


class NotAsExpected(Exception):
    """The answer came and is not good enough; the text says what was seen and what to do."""


async def ask(name: str, question: Callable[[], Awaitable[str]]) -> Check:
    """Ask; a question that raises a venue's error or NotAsExpected has failed with that text."""
    try:
        return Check(name, True, await question())
    except (VenueError, NotAsExpected) as error:
        return Check(name, False, str(error))


async def ask_all(questions: Sequence[Question]) -> tuple[Check, ...]:
    """Ask one after the other; every question is asked, whatever came of those before."""
    return tuple([await ask(name, question) for name, question in questions])


def expect(condition: bool, otherwise: str) -> None:
    """Raise NotAsExpected with `otherwise` unless the condition holds."""
    if not condition:
        raise NotAsExpected(otherwise)
