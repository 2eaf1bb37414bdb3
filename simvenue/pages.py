"""What answers in front of a venue's own servers: pages for people, in no venue's form."""

from aiohttp import web

REASONS = {
    200: "One moment please",
    403: "Access denied",
    429: "Too many requests",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway time-out",
}


def page(status: int) -> web.Response:
    """Make a page that says a status in words."""
    words = REASONS.get(status, "Server error")
    text = f"<!DOCTYPE html>\n<html><head><title>{words}</title></head><body><h1>{words}</h1></body></html>\n"
    return web.Response(status=status, text=text, content_type="text/html")
