"""Who may talk to the page: this computer's browser, and no other web site in it."""

import ipaddress
import socket
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = ("localhost", LOOPBACK, "::1")

# Headers of every answer: a browser loads nothing from elsewhere and frames the page
# nowhere. Plotly writes style sheets of its own into the page.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def is_loopback(host: str) -> bool:
    """Tells whether only this computer reaches an address."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class Guard:
    """Refuses requests that other sites make a browser send, and sets headers.

    A site whose name an attacker points at 127.0.0.1 (DNS rebinding) shows in the Host
    header; a form on another site shows in Origin. Where the page is open to a network,
    it answers to this computer's name and to addresses, which nobody can rebind.
    """

    def __init__(self, app: ASGIApp, host: str = LOOPBACK):
        """Guards an application that listens at `host`."""
        self._app = app
        self._is_open = not is_loopback(host)
        self._names = {*_LOOPBACK_NAMES, host}
        if self._is_open:
            self._names |= {socket.gethostname(), socket.getfqdn()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        why = self._refusal(Headers(scope=scope))
        if why:
            answer = JSONResponse({"error": why}, 403, {"connection": "close"})
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> str:
        host = headers.get("host", "")
        if not self._is_known(host):
            return "address: expected this computer's, found another"
        origin = headers.get("origin")
        if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            return "request: expected one of this page, found one of another site"
        return ""

    def _is_known(self, host: str) -> bool:
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        known = {known.lower() for known in self._names}
        return name in known or (self._is_open and _address(name) is not None)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
