"""The same home and venues as the flows have."""

from tests.flows.conftest import home, market

__all__ = ["home", "market"]
