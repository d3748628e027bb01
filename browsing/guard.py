"""What every answer passes: reading only, the token if there is one, and the headers that keep a page to itself."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "marquee_token"
_MONTH = 30 * 86_400

HEADERS = {
    # Images of a real service are where its catalogue says.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' https: http:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Addresses hold ids of users, which the hosts of images need not know.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

ASK_FOR_TOKEN = "token"
"""Parameter of an address with which a browser gives the token, once."""


class Headers:
    """Adds HEADERS to each answer, except those that it has itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class Token:
    """Lets those pass who give the token, in the address once or in the cookie that they get for it."""

    def __init__(self, app: ASGIApp, token: str, ask: Callable[[bool], Response]) -> None:
        """`ask` makes the page that asks for the token; its argument says whether a wrong one was given."""
        self._app, self._token, self._ask = app, token.encode(), ask
        # The cookie is no use to who would read the token from it.
        self._cookie = sha256(b"marquee browse " + self._token).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A style sheet is no secret, and the page that asks has it too.
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.query_params.get(ASK_FOR_TOKEN)
        if given is not None:
            right = compare_digest(given.encode(), self._token)
            await (self._welcome(request) if right else self._ask(True))(scope, receive, send)
        elif compare_digest(request.cookies.get(COOKIE, "").encode(), self._cookie.encode()):
            await self._app(scope, receive, send)
        else:
            await self._ask(False)(scope, receive, send)

    def _welcome(self, request: Request) -> Response:
        """Back to the same address without the token, which would stay in the browser's history."""
        rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != ASK_FOR_TOKEN])
        # Two slashes at its beginning would be the address of another host.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(
            COOKIE,
            self._cookie,
            max_age=_MONTH,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer
