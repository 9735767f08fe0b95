"""The page's answers: one network at a time, however many ask."""

import asyncio
import contextlib
import functools
import pathlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from img2eeg_jax.app import answers, downloads
from img2eeg_jax.app.guard import LOOPBACK, Guard
from img2eeg_jax.app.library import Library
from img2eeg_jax.app.limits import Limits, Refused
from img2eeg_jax.app.similar import TestImages
from img2eeg_jax.app.uploads import Form, decode, read_form
from img2eeg_jax.errors import InputError, unexpected
from img2eeg_jax.evaluation import report_page
from img2eeg_jax.prediction.streaming import Predictor

_HERE = pathlib.Path(__file__).parent
_REPORT = pathlib.Path(report_page.__file__).parent / "templates"
_CACHED = {"cache-control": "max-age=3600"}


def make_app(
    library: Library, limits: Limits | None = None, host: str = LOOPBACK
) -> ASGIApp:
    """Builds the page's application.

    Args:
      library: the encoders that it offers.
      limits: of a request.
      host: where it listens, see `Guard`.
    """
    page = _Page(library, limits or Limits())
    app = Starlette(
        routes=[
            Route("/", page.show),
            Route("/encoder", page.encoder),
            Route("/predict", page.predict, methods=["POST"]),
            Route("/similar", page.similar, methods=["POST"]),
            Route("/download", page.download, methods=["POST"]),
            Route("/look.css", _look),
            Route("/plotly.js", _plotly),
            Route("/scalp.js", _scalp),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
            Mount("/examples", StaticFiles(directory=_HERE / "examples")),
        ],
        exception_handlers={
            InputError: _told,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
        lifespan=page.lifespan,
    )
    # Around all of it, so that its headers are on answers to faults, too.
    return Guard(app, host)


class _Page:
    """The page over a library of encoders.

    Networks and decoders run in one thread: they use all cores by themselves, and the
    memory that they take is that of one request.
    """

    def __init__(self, library: Library, limits: Limits):
        self._library = library
        self._limits = limits
        self._readers = asyncio.Semaphore(limits.n_readers)
        self._worker = ThreadPoolExecutor(1, "network")
        # Encoder → its test images; they go when the library lets the encoder go.
        self._test_images: weakref.WeakKeyDictionary[Predictor, TestImages | None] = (
            weakref.WeakKeyDictionary()
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Ends the thread with the server."""
        yield
        self._worker.shutdown(cancel_futures=True)

    async def show(self, request: Request) -> Response:
        """Answers with the page itself."""
        examples = sorted(path.name for path in (_HERE / "examples").glob("*.png"))
        text = _template().render(
            encoders=self._library.names,
            examples=examples,
            limits=self._limits,
            formats=downloads.FORMATS,
        )
        return HTMLResponse(text)

    async def encoder(self, request: Request) -> Response:
        """Tells of an encoder whose EEG it predicts."""
        name = request.query_params.get("name", "")
        subjects = await self._in_thread(self._library.subjects, name)
        return JSONResponse({"subjects": list(subjects)})

    async def predict(self, request: Request) -> Response:
        """Predicts pictures, for the page to draw."""
        return JSONResponse(await self._of_form(request, self._answer))

    async def similar(self, request: Request) -> Response:
        """Tells which test images are most like pictures, where they are at hand."""
        return JSONResponse({"images": await self._of_form(request, self._similar)})

    async def download(self, request: Request) -> Response:
        """Predicts pictures, for a file."""
        name, kind, content = await self._of_form(request, self._file)
        shown = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=kind, headers=shown)

    async def _of_form(self, request: Request, make: Callable[[Form], Any]) -> Any:
        async with self._readers:
            form = await read_form(request, self._limits)
            if not form.pictures:
                raise unexpected("pictures", "at least one", "none")
            return await self._in_thread(make, form)

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._worker, call, *arguments)

    def _load(self, form: Form) -> tuple[Any, list[Any], list[str]]:
        name, subject = form.fields.get("encoder", ""), form.fields.get("subject", "")
        encoder = self._library.load(name, subject)
        size = encoder.image_size
        images = [decode(picture, size, self._limits) for picture in form.pictures]
        return encoder, images, [picture.name for picture in form.pictures]

    def _answer(self, form: Form) -> dict[str, Any]:
        encoder, images, names = self._load(form)
        path = self._library.path(form.fields["encoder"])
        return answers.answer(encoder, names, images, path)

    def _similar(self, form: Form) -> list[Any] | None:
        encoder, images, names = self._load(form)
        if encoder not in self._test_images:
            self._test_images[encoder] = TestImages.of(encoder)
        known = self._test_images[encoder]
        if known is None:
            return None
        return known.most_similar(encoder(images, names, progress=False).data)

    def _file(self, form: Form) -> tuple[str, str, bytes]:
        kind = form.fields.get("format", "")
        downloads.check_format(kind)
        encoder, images, names = self._load(form)
        eeg = encoder(images, names, progress=False)
        if form.fields.get("difference") and len(names) > 1:
            eeg = eeg[0] - eeg[1]
        return *downloads.FORMATS[kind], downloads.file_of(eeg, kind)


async def _told(request: Request, error: Exception) -> Response:
    """Answers with the one line that says what is wrong.

    What is left of a refused request is never read, so that its connection ends.
    """
    status = error.status if isinstance(error, Refused) else 400
    return JSONResponse({"error": str(error)}, status, {"connection": "close"})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _gone(request: Request, error: Exception) -> Response:
    """Answers who went away while sending, which is no fault."""
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    """Answers where the page itself is at fault; the server prints where."""
    fault = unexpected("the page", "an answer", type(error).__name__)
    return JSONResponse({"error": str(fault)}, 500)


async def _look(request: Request) -> Response:
    return Response(_text("style.css"), media_type="text/css", headers=_CACHED)


async def _scalp(request: Request) -> Response:
    return Response(_text("scalp.js"), media_type="text/javascript", headers=_CACHED)


async def _plotly(request: Request) -> Response:
    return Response(_plotly_js(), media_type="text/javascript", headers=_CACHED)


@functools.cache
def _plotly_js() -> bytes:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().encode()


@functools.cache
def _text(name: str) -> str:
    return (_REPORT / name).read_text("utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE / "templates", _REPORT]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Of the report's macros, those that the page does not call.
    environment.filters |= dict.fromkeys(("number", "chance", "embed"), str)
    return environment.get_template("app.html.j2")
