"""bitFlyer's error statuses and what each lets us do (docs/venues.md#bitflyer).

The venue publishes no table; this one is gathered from published clients. What is not here is NoAnswer for an
order or a cancel, and a plain refusal for a read (exchanges.transport).
"""

from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)

# Some refusals are told apart by their text alone; these words stand for their code.
ORDER_NOT_FOUND = "order not found"
PERMISSION_DENIED = "permission denied"
NO_SUCH_PRODUCT = "-100"
HISTORY_TOO_OLD = "-156"
IRREGULAR_ORDERS = "-508"

ERRORS: dict[str, type[VenueError]] = {
    "-1": RateLimitExceeded,
    "-2": Maintenance,
    NO_SUCH_PRODUCT: BadRequest,
    "-106": BadRequest,  # price too low
    "-110": BadRequest,  # below the smallest order
    "-121": PermissionDenied,  # terms of use not accepted
    HISTORY_TOO_OLD: BadRequest,  # executions older than 31 days
    "-159": BadRequest,  # would trade with an order of our own
    "-200": InsufficientFunds,
    "-204": Busy,  # market closed
    "-205": InsufficientFunds,  # margin
    # "Not accepted, try later", at HTTP 500: traders have found the order live after all.
    "-208": NoAnswer,
    "-500": AuthenticationError,
    IRREGULAR_ORDERS: RateLimitExceeded,  # ordering limited for an irregular number of orders
    ORDER_NOT_FOUND: OrderNotFound,
    PERMISSION_DENIED: PermissionDenied,
}


def code_of(status: object, message: str) -> str:
    """The key into the table: the status, or the words where only they tell."""
    said = message.lower()
    if ORDER_NOT_FOUND in said:
        return ORDER_NOT_FOUND
    if PERMISSION_DENIED in said:
        return PERMISSION_DENIED
    return str(status)
