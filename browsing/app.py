"""The page's addresses and what answers them. Ids are parameters of an address, so that they may hold any character."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from browsing.guard import ASK_FOR_TOKEN, Headers, Token
from browsing.models import models_page, report_of
from browsing.nights import KINDS, PairFilter, night_page
from browsing.pictures import catalogue_of, image_of, placeholder
from browsing.search import search
from browsing.titles import title_page
from browsing.users import PairPage, pair_page, some_user, user_page
from inference.reasons import Reasons, reason_for
from schemas.arguments import night_date
from schemas.contract import ContractError
from schemas.exit_codes import RunError, cause
from schemas.paths import without_password
from schemas.settings import Settings
from schemas.store import NoTableError, rows_where
from schemas.tables import TITLE_DEFAULTS
from serving.explain import in_words, why
from serving.nights import last_nights

log = logging.getLogger("marquee.browse")

Answer = Callable[[Request], Response]

HERE = Path(__file__).parent
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_NIGHTS, _TITLES = 14, 14
_IMAGE_SECONDS = 300
# A drawing is shown, but neither runs a script nor loads anything.
_OF_AN_IMAGE = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_OF_A_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; sandbox"


class NoPageError(Exception):
    """There is no page at an address; the message says what to do."""


class Pages:
    """What answers each address of the page over one warehouse."""

    def __init__(self, config: Settings, reasons: Reasons | None) -> None:
        self._config, self._warehouse, self._reasons = config, config.warehouse, reasons
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"link": link, "place": without_password(config.warehouse), "words": ""}

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(f"{template}.html.j2").render(**values), status)

    def home(self, _: Request) -> Response:
        nights = last_nights(self._warehouse, _NIGHTS)[::-1]
        defaults = rows_where(self._warehouse, TITLE_DEFAULTS, f"true ORDER BY title_id LIMIT {_TITLES}")
        catalogue = catalogue_of(self._warehouse, [each["title_id"] for each in defaults])
        titles = [catalogue.picture(each["artwork_id"], each["title_id"]) for each in defaults]
        user_id = some_user(self._warehouse)
        return self.render("home", nights=nights, titles=titles, catalogue=catalogue, user_id=user_id)

    def user(self, request: Request) -> Response:
        return self.render("user", page=user_page(self._warehouse, _given(request, "id")), words="")

    def pair(self, request: Request) -> Response:
        page = self._pair(request)
        template = "why" if _is_part(request) else "pair"
        teacher = self._reasons.version if self._reasons and page.found["question"] else None
        ds = request.query_params.get("ds")
        return self.render(template, page=page, found=page.found, sentences=why(page.found), ds=ds, teacher=teacher)

    def reason(self, request: Request) -> Response:
        """One sentence by the teacher, as a part of a pair's page or alone."""
        page = self._pair(request)
        try:
            text = reason_for(page.found, self._reasons)
        except ContractError as error:
            raise NoPageError(str(error)) from error
        words = in_words({"by": self._reasons and self._reasons.version, "text": text})
        return self.render("words" if _is_part(request) else "reason", page=page, found=page.found, reason=words)

    def _pair(self, request: Request) -> PairPage:
        ds = _day(request.query_params["ds"]) if "ds" in request.query_params else None
        try:
            return pair_page(self._config, _given(request, "user"), _given(request, "title"), ds)
        except NoTableError:
            raise
        except ContractError as error:
            raise NoPageError(str(error)) from error

    def title(self, request: Request) -> Response:
        title_id = _given(request, "id")
        page = title_page(self._warehouse, title_id)
        if page is None:
            raise NoPageError(f"There is no title {title_id!r} in this warehouse; search for its name.")
        return self.render("title", page=page)

    def night(self, request: Request) -> Response:
        ds = _day(_given(request, "ds"))
        after = (request.query_params.get("after_user"), request.query_params.get("after_title"))
        of = PairFilter(
            request.query_params.get("title"), None if after[0] is None or after[1] is None else (after[0], after[1])
        )
        page = night_page(self._warehouse, ds, of)
        if page is None:
            raise NoPageError(f"No step of the night of {ds} has run here; the home page lists the nights.")
        return self.render("night", page=page, ds=ds, kinds=KINDS)

    def models(self, _: Request) -> Response:
        return self.render("models", page=models_page(self._config))

    def report(self, request: Request) -> Response:
        number = _given(request, "version")
        page = report_of(self._config, number)
        if page is None:
            raise NoPageError(f"Version {number!r} has no evaluation page; `marquee report` writes one.")
        return HTMLResponse(page, headers={"Content-Security-Policy": _OF_A_REPORT})

    def search(self, request: Request) -> Response:
        words = request.query_params.get("q", "").strip()
        return self.render("search", words=words, found=search(self._warehouse, words) if words else None)

    def image(self, request: Request) -> Response:
        artwork_id = _given(request, "artwork")
        headers = {"Content-Security-Policy": _OF_AN_IMAGE, "Cache-Control": f"private, max-age={_IMAGE_SECONDS}"}
        if found := image_of(self._warehouse, artwork_id):
            return Response(found[0], media_type=found[1], headers=headers)
        drawn = placeholder(self._warehouse, artwork_id)
        return Response(drawn, 404, media_type="image/svg+xml", headers=headers)

    def ask(self, wrong: bool) -> Response:
        return self.render("token", 401, wrong=wrong, name=ASK_FOR_TOKEN)

    def answering(self, answer: Answer) -> Answer:
        """`answer`, with a page for each error that says what to do."""

        def answered(request: Request) -> Response:
            try:
                return answer(request)
            except NoPageError as error:
                return self._problem(404, "Nothing here", str(error))
            except NoTableError as error:
                command = f"marquee night --warehouse {shlex.quote(self._warehouse)}"
                return self._problem(404, "No night yet", cause(error), command)
            except Exception as error:
                if not isinstance(error, ContractError | RunError):
                    log.exception("%s", request.url.path)
                return self._problem(503, "This cannot be read", cause(error), "marquee doctor")

        return answered

    def refused(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return self._problem(404, "Nothing here", "There is no such page; begin at the home page, or search.")
        return self._problem(error.status_code, "Not possible", f"{error.detail}: this page only shows.")

    def _problem(self, status: int, heading: str, sentence: str, command: str | None = None) -> Response:
        # Errors of delta-rs end with a trace.
        shown = next(iter(without_password(sentence).splitlines()), heading)
        return self.render("problem", status, heading=heading, sentence=shown, command=command)


def link(page: str, **parameters: object) -> str:
    """The address of a page, with its parameters percent-encoded."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"/{page}" + (f"?{urlencode(given)}" if given else "")


def _is_part(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into the page that is open."""
    return request.headers.get("hx-request") == "true"


def _given(request: Request, name: str) -> str:
    """A parameter of the address, which may be empty: an id may be."""
    value = request.query_params.get(name)
    if value is None:
        raise NoPageError(f"The address lacks {name}=…; begin at the home page, or search.")
    return value


def _day(text: str) -> Any:
    from argparse import ArgumentTypeError

    try:
        return night_date(text)
    except ArgumentTypeError as error:
        raise NoPageError(f"{error}.") from error


def application(config: Settings, token: str | None = None, reasons: Reasons | None = None) -> Starlette:
    """The page over the warehouse of `config`. Without a token it answers to this machine's own names alone, so that no
    other site's name can be made to lead here.
    """
    pages = Pages(config, reasons)
    gate = (
        Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK], www_redirect=False)
        if token is None
        else Middleware(Token, token=token, ask=pages.ask)
    )
    answers: list[tuple[str, Answer]] = [
        ("/", pages.home),
        ("/user", pages.user),
        ("/pair", pages.pair),
        ("/reason", pages.reason),
        ("/title", pages.title),
        ("/night", pages.night),
        ("/models", pages.models),
        ("/report", pages.report),
        ("/search", pages.search),
        ("/image", pages.image),
    ]
    return Starlette(
        routes=[
            *(Route(path, pages.answering(answer), methods=["GET"]) for path, answer in answers),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Headers), gate],
        exception_handlers={HTTPException: pages.refused},
    )
