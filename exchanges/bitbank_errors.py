"""bitbank's error codes and what each lets us do (docs/venues.md#bitbank).

What is not here is NoAnswer for an order or a cancel, and a plain refusal for a read (exchanges.transport).
"""

from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    ClockSkew,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)

# "cannot be cancelled", "already cancelled", "already executed": the order has ended, as was asked for.
ENDED_ALREADY = frozenset({"50010", "50026", "50027"})

# The candle or trade file of that date does not exist (yet).
NO_SUCH_FILE = "10000"


def _codes(kind: type[VenueError], *codes: int) -> dict[str, type[VenueError]]:
    return {str(code): kind for code in codes}


ERRORS: dict[str, type[VenueError]] = {
    **_codes(BadRequest, 10000, 10002),
    # The venue itself does not know what became of the request, or says so only in words.
    **_codes(NoAnswer, 10001, 10003, 10005, 10008, 70001, 70002, 70003, 70011, 70012),
    **_codes(Maintenance, 10007),
    **_codes(RateLimitExceeded, 10009),
    **_codes(AuthenticationError, 20001, 20002, 20003, 20004, 20005, 20011, 20014, 20018, 20019),
    **_codes(ClockSkew, 20033, 20034, 20035, 20036, 20037, 20038, 20039),
    **_codes(BadRequest, 30001, 30006, 30007, 30009, 30012, 30013, 30015, 30016, 30019),
    **_codes(BadRequest, 40001, 40006, 40007, 40008, 40009, 40015, 40017, 40020, 40021, 40022),
    **_codes(BadRequest, 40024, 40025, 40028, 40113),
    # "Cannot be cancelled", "cancelled already", "executed already" speak of an order, too.
    **_codes(OrderNotFound, 40013, 40014, 50009, 50010, 50026, 50027),
    **_codes(PermissionDenied, 50003, 50004, 50005, 50006, 50008),
    **_codes(BadRequest, 50011),
    **_codes(InsufficientFunds, 60001),
    **_codes(BadRequest, 60002, 60003, 60004, 60005, 60006, 60011),
    # The pair, one side of it or one kind of order is stopped at present: certainly refused, later it may pass.
    **_codes(Busy, *range(70004, 70011), *range(70013, 70027)),
}

MEANINGS: dict[str, str] = {
    "10000": "no such URL or file",
    "10001": "system error",
    "10002": "malformed JSON",
    "10003": "system error",
    "10005": "timed out inside the venue",
    "10007": "under maintenance",
    "10008": "the venue is busy",
    "10009": "too many requests",
    "20001": "the request could not be authenticated",
    "20002": "the API key is not valid",
    "20003": "the API key is not there",
    "20004": "the nonce is not there",
    "20005": "the signature is not there",
    "20033": "the request time is not there",
    "20034": "the request time is not valid",
    "20035": "the request arrived outside its time window",
    "20036": "the time window is not there",
    "20037": "the time window is not valid",
    "20038": "request time or nonce are not there",
    "20039": "request time or nonce are not valid",
    "40001": "the quantity is not valid",
    "40013": "the order id is not valid",
    "40014": "the order ids are not valid",
    "40017": "no such pair",
    "40020": "the price is not valid",
    "40021": "the side is not valid",
    "40024": "the order type is not valid",
    "40113": "post_only is not valid here",
    "50003": "the account may not do this",
    "50004": "the account is provisional",
    "50005": "the account is blocked",
    "50006": "the account is blocked",
    "50008": "the identity check is not finished",
    "50009": "no such order",
    "50010": "the order cannot be cancelled",
    "50026": "the order is cancelled already",
    "50027": "the order is executed already",
    "60001": "not enough free balance",
    "60002": "the quantity is above the limit for a market buy",
    "60003": "the quantity is above the limit",
    "60004": "the quantity is below the smallest order",
    "60005": "the price is above the limit",
    "60006": "the price is below the limit",
    "60011": "too many resting orders on this pair",
    "70004": "trading is halted",
    "70005": "buying is stopped",
    "70006": "selling is stopped",
    "70009": "market orders are stopped",
    "70010": "the smallest order is raised at present",
    "70011": "the venue is busy",
    "70017": "the pair is stopped",
    "70020": "market orders are stopped while the circuit breaker is on",
    "70021": "the limit price is too far from the market",
    "70026": "orders are restricted at present",
}
