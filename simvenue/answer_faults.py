"""The faults that strike at answers: their names, where each strikes unless told otherwise, what its value says.

What each venue answers then is in its own module (simvenue/bybit_refusals.py ...); who strikes is
simvenue/fault_front.py.
"""

from decimal import Decimal

from simvenue.amounts import read_amount

# The words for what a request asks for, the same at all four venues; every wire names its own requests by them.
OPERATIONS = (
    "place",
    "cancel",
    "cancel_all",
    "order",
    "open_orders",
    "order_history",
    "fills",
    "balances",
    "positions",
    "collateral",
    "ticker",
    "book",
    "candles",
    "trades",
    "instruments",
    "status",
    "time",
    "key",
    "fees",
    "other",
)
PLACING = ("place",)
CANCELLING = ("cancel", "cancel_all")
CHANGING = (*PLACING, *CANCELLING)

ANSWER_FAULTS = {
    "lost_ack": "what is asked is done, then the connection drops without an answer",
    "lost_request": "the connection drops before anything is done",
    "ack_500": "what is asked is done, the answer is a 5xx (value: the status, default 500)",
    "ack_empty": "what is asked is done, the answer is 200 with an empty body",
    "ack_html": "what is asked is done, the answer is 200 with a page for people",
    "ack_truncated": "what is asked is done, the answer is 200 with the first half of its body",
    "hang": "what is asked is done, no answer comes until the client gives up (value: at most so many seconds)",
    "slow": "what is asked is done at once, its answer comes late (value: seconds, default 2)",
    "rate_limited": "the venue refuses in its own words: too many requests",
    "rate_limited_html": "the venue's front refuses with a page or a text: too many requests",
    "forbidden": "the venue's front refuses with 403 and a page",
    "auth_revoked": "the venue no longer knows the key",
    "clock_skew": "the venue's clock is ahead of ours (value: seconds, default 10; negative: behind)",
    "maintenance": "the venue is in maintenance and says so in its own words",
    "unavailable": "nothing of the venue is reached: 503 without its form (value reset: the connection drops)",
    "cancel_500": "a cancel is answered with a 5xx and not carried out (value: the status, default 500)",
    "cancel_lost_ack": "a cancel is carried out, then the connection drops without an answer",
    "cancel_refused": "a cancel is refused, the order keeps resting",
    "withdraw_permission": "the key may withdraw, where the venue tells what a key may",
    "random": "of all requests a share is struck by answer faults drawn by the seed (value: SHARE or SHARE:name,name)",
}
# (fault, exchange) -> why the venue has no such thing
ANSWERS_NOT_APPLICABLE = {
    ("withdraw_permission", "bitbank"): "bitbank has no call that tells what a key may",
}

# Where a fault strikes unless it is told where; what is not named here strikes at every request.
USUAL = {
    **dict.fromkeys(("lost_ack", "lost_request", "ack_500", "ack_empty", "ack_html", "ack_truncated", "hang"), PLACING),
    **dict.fromkeys(("cancel_500", "cancel_lost_ack", "cancel_refused"), CANCELLING),
    "withdraw_permission": ("key",),
}

DEFAULT_SECONDS = {"slow": Decimal(2), "hang": Decimal(600), "clock_skew": Decimal(10)}
LONGEST_SECONDS = Decimal(1_000_000)
# what `random` draws from: what is lost on the way of a change; a read is only lost on its way back
DRAWN_AT_CHANGES = (
    "lost_request",
    "lost_ack",
    "ack_500",
    "ack_html",
    "ack_empty",
    "ack_truncated",
    "slow",
    "rate_limited",
    "unavailable",
)
DRAWN_AT_READS = tuple(name for name in DRAWN_AT_CHANGES if name != "lost_request")
DRAWN_SLOW_S = Decimal("0.2")
# states of the venue, not of one answer: they cannot be drawn for one request
_LASTING = ("clock_skew", "withdraw_permission", "random")


def usual_operations(name: str) -> tuple[str, ...]:
    """Give the operations at which a fault strikes unless it is told where."""
    return USUAL.get(name, OPERATIONS)


def seconds_of(name: str, value: str) -> float:
    """Give the seconds that a fault's value says, or its default. Raises ValueError, one line, for anything else."""
    if not value:
        return float(DEFAULT_SECONDS[name])
    seconds = read_amount(value)
    if seconds is None or abs(seconds) > LONGEST_SECONDS or (seconds < 0 and name != "clock_skew"):
        raise ValueError(f"the value of {name} is a number of seconds, not {value[:40]!r}")
    return float(seconds)


def status_of(name: str, value: str) -> int:
    """Give the HTTP status that a fault's value says, 500 without one. Raises ValueError outside 500 to 599."""
    if not value:
        return 500
    if not (value.isascii() and value.isdigit() and 500 <= int(value[:9]) <= 599):
        raise ValueError(f"the value of {name} is an HTTP status from 500 to 599, not {value[:40]!r}")
    return int(value)


def share_of(value: str) -> tuple[float, tuple[str, ...]]:
    """Read the value of `random`: the share of requests (0 to 1) and the names to draw from, () for the usual ones.

    Raises ValueError, one line.
    """
    text, _, listed = value.partition(":")
    share = read_amount(text)
    if share is None or not 0 <= share <= 1:
        raise ValueError(
            f"the value of random is SHARE or SHARE:name,name with a share from 0 to 1, not {value[:80]!r}"
        )
    names = tuple(name for name in listed.split(",") if name)
    for name in names:
        if name not in ANSWER_FAULTS or name in _LASTING:
            drawable = ", ".join(each for each in ANSWER_FAULTS if each not in _LASTING)
            raise ValueError(f"random cannot draw {name[:40]}: it can {drawable}")
    return float(share), names


def check_answer_fault(name: str, value: str, match: str) -> None:
    """Check value and operation of an answer fault. Raises ValueError, one line."""
    if name in DEFAULT_SECONDS:
        seconds_of(name, value)
    elif name in ("ack_500", "cancel_500"):
        status_of(name, value)
    elif name == "random":
        share_of(value)
    elif name == "unavailable":
        if value not in ("", "reset"):
            raise ValueError(f"the value of unavailable is reset or nothing, not {value[:40]!r}")
    elif value:
        raise ValueError(f"{name} takes no value")
    if match and match not in OPERATIONS:
        raise ValueError(f"no operation {match[:40]}: there are {', '.join(OPERATIONS)}")
