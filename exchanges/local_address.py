"""Which of this machine's addresses a request to a venue leaves from."""

import asyncio
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

_NAME_SECONDS = 2.0  # for looking up a host's address


async def local_address_towards(url: str) -> str:
    """The address that the system would send from, "" where there is no way. Sends nothing to the host.

    Connecting a UDP socket makes the system choose, and nothing else.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(_NAME_SECONDS):
            where = host if is_address(host) else await _address_of(host, port)
        family = socket.AF_INET6 if ":" in where else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((where, port))
            return str(way.getsockname()[0])
    except (OSError, TimeoutError):
        return ""


def is_address(text: str) -> bool:
    """Whether the text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


async def _address_of(host: str, port: int) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])
