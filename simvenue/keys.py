"""The keys of the one account: which are let in, and what the venue says that each may do."""

from simvenue.values import AccountKey, Secrets


class Keys:
    """Several keys may open the account at a time; it begins with one. Each request is answered for its own key."""

    def __init__(self, first: Secrets) -> None:
        self._keys = {first.api_key: AccountKey(first)}
        self._used = first.api_key

    def find(self, api_key: str) -> Secrets | None:
        """The secrets of a key that is let in, which is then the one in use; else None."""
        if api_key not in self._keys:
            return None
        self._used = api_key
        return self._keys[api_key].secrets

    def in_use(self) -> AccountKey:
        """The key of the request that is being answered."""
        return self._keys[self._used]

    def add(self, key: AccountKey) -> None:
        """Let a key in, or say anew what it may do."""
        self._keys[key.secrets.api_key] = key

    def revoke(self, api_key: str) -> None:
        """Let a key in no more. Raises KeyError for one that is unknown."""
        del self._keys[api_key]

    def __len__(self) -> int:
        return len(self._keys)
