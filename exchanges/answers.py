"""Reading the rows of an answer: one that is not what the venue promises is NoAnswer, never a guess."""

from collections.abc import Iterator
from contextlib import contextmanager

from exchanges.errors import NoAnswer


@contextmanager
def reading(venue: str) -> Iterator[None]:
    """Turn a missing key, a wrong type or a text that is no number or time into NoAnswer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise NoAnswer(venue, f"an answer that cannot be read ({type(error).__name__}: {error})") from error
