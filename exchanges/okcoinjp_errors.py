"""What OKJ's `code` and `sCode` mean for us (docs/venues.md#okcoinjp); the transport decides on others."""

from collections.abc import Mapping

from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    ClockSkew,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)

_CODES: Mapping[type[VenueError], str] = {
    # Timed out or broken inside, and "this client id is pending": an order may be there, so one looks.
    NoAnswer: "50004 50013 50026 51016",
    Maintenance: "50001 50005",
    ClockSkew: "50102",
    AuthenticationError: "50008 50100 50101 50103 50104 50105 50106 50107 50111 50112 50113 50114 50119",
    PermissionDenied: "50007 50027 50030 50035 50110 50120 50121",
    RateLimitExceeded: "50011 50040 50061",
    InsufficientFunds: "51008 51119 51127 51131",
    # Absent, filled, cancelled already, or the cancel is under way (51410).
    OrderNotFound: "51400 51401 51402 51410 51503 51509 51603",
    BadRequest: """404 50000 50002 50006 50014 50024 51000 51001 51003 51004 51005 51006 51014 51015 51020
        51025 51110 51116 51118 51120 51121 51122 51124""",
}

ERRORS: Mapping[str, type[VenueError]] = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
