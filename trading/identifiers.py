"""The id that an order carries from before it is sent: the same decision always makes the same id."""

from hashlib import sha256


def client_order_id(account: str, cycle_id: str, leg: int | str = 0) -> str:
    """Make the 32 lower-case hex characters that both Bybit and OKJ accept (docs/venues.md#client-order-ids).

    A repeated cycle makes the same id, so that a repetition is recognised instead of sent again.
    """
    # Lengths in front: no two different triples can be joined to the same text.
    parts = (account, cycle_id, str(leg))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode()).hexdigest()[:32]
