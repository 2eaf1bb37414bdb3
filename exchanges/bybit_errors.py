"""What Bybit's `retCode` means for us (docs/venues.md#bybit); the transport decides about the rest."""

from collections.abc import Mapping

from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    ClockSkew,
    InsufficientFunds,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)

_CODES: Mapping[type[VenueError], str] = {
    # The gateway gave up or broke while something behind it may have gone on; and "this client id exists",
    # which says that an order of ours is there. Both are answered by looking.
    NoAnswer: """-1 429 10000 10014 10016 110066 110072 110079 110123 170001 170007 170031 170032 170141
        170146 170147 170149 170150 170212 170234 170381 170810
        176002""",
    ClockSkew: "10002",
    AuthenticationError: "-2015 10003 10004 10007 33004",
    PermissionDenied: "10005 10008 10009 10010 10024 10027 10028 10029 100028 110132",
    RateLimitExceeded: "10006 10018 170222",
    InsufficientFunds: "110004 110007 110012 110045 170131",
    # Absent, filled or cancelled: the venue has one answer for all three, told differently by product.
    OrderNotFound: "110001 110008 110010 170139 170142 170143 170213",
    BadRequest: """10001 10017 110003 110017 110020 110043 110094 170005 170121 170124 170130 170132 170133
        170134 170135 170136 170137 170140 170190 170191 170193 170194 170201 170210 170217 170218
        170371 170372""",
}

ERRORS: Mapping[str, type[VenueError]] = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
