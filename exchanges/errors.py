"""What can go wrong at a venue, sorted by the only question that matters: may I repeat this?

    VenueError
    ├── NoAnswer                outcome unknown: look before repeating
    ├── Busy                    not done, the venue has no time: repeat later
    │   ├── RateLimitExceeded
    │   └── Maintenance
    └── Refused                 not done, the venue said no: repeating changes nothing
        ├── AuthenticationError
        ├── PermissionDenied
        ├── ClockSkew
        ├── InsufficientFunds
        ├── OrderNotFound       an answer about an order; for a lookup it is no proof of absence by itself
        └── BadRequest

A table of codes per venue decides (ccxt's classes cannot: docs/venues.md). What no table knows is NoAnswer
when an order was being placed. Messages say what to check; they never hold a key or a signature.
"""


class VenueError(Exception):
    """Something about one request to one venue. `code` is the venue's own word, "" where there was none."""

    remedy = ""

    def __init__(self, venue: str, message: str, *, code: str = "") -> None:
        self.venue = venue
        self.code = code
        self.message = message
        tail = f" - {self.remedy}" if self.remedy else ""
        super().__init__(f"{venue}: {message}{f' (code {code})' if code else ''}{tail}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments: without this the exception cannot be pickled, and Prefect pickles it.
        return (_rebuild, (type(self), self.venue, self.message, self.code))


def _rebuild(kind: type[VenueError], venue: str, message: str, code: str) -> VenueError:
    return kind(venue, message, code=code)


class NoAnswer(VenueError):
    remedy = "the outcome is unknown until the venue has been read again"


class Busy(VenueError):
    remedy = "repeat later"


class RateLimitExceeded(Busy):
    remedy = "other programs may share this account or address; lower requests_per_minute"


class Maintenance(Busy):
    remedy = "see the venue's maintenance notice; trading resumes by itself"


class Refused(VenueError):
    remedy = ""


class AuthenticationError(Refused):
    remedy = "check key, secret, passphrase and that the key belongs to this endpoint (live, testnet)"


class PermissionDenied(Refused):
    remedy = "check the key's rights and its address restriction"


class ClockSkew(Refused):
    remedy = "check that this machine's clock is synchronised (NTP)"


class InsufficientFunds(Refused):
    remedy = "check free balance, resting orders and fees"


class OrderNotFound(Refused):
    remedy = ""


class BadRequest(Refused):
    remedy = "check symbol, price, quantity and the venue's minimums"
