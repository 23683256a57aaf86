"""Handlers: what the server answers, to those who have its token."""

import asyncio
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from unet_batch.errors import FormatError
from unet_batch.store.containment import inside
from unet_batch.store.units import length
from unet_batch.viewing.layers import Layer

if TYPE_CHECKING:
    from unet_batch.viewing.server import Server

# The page loads nothing from elsewhere, whatever state or store it is given. Its decoders evaluate code.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self' blob: data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_LARGEST_METADATA = 64 << 20  # bytes of a zarr.json
_BEAT = 15.0  # seconds between signs of life to an open page


class Guarded(RequestHandler):
    """Lets in whoever has the token and asks this host by one of its names, to read."""

    SUPPORTED_METHODS = ("GET", "HEAD", "OPTIONS")

    def initialize(self, server: "Server", **_: Any) -> None:
        """Keep the server, whose scene is shown."""
        self.server = server

    def prepare(self) -> None:
        """Refuse others before anything is looked up."""
        given = self.path_args[0] if self.path_args else ""
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            raise HTTPError(404)
        if not self._host_is_ours():
            raise HTTPError(403, "unknown host")
        self._allow_origin()

    def set_default_headers(self) -> None:
        """What browsers are told with every answer."""
        self.set_header("Server", "unet-batch")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Security-Policy", _POLICY)

    def options(self, *_: str) -> None:
        """Answer a browser that asks before it reads from another page."""
        self.set_status(204)
        self.finish()

    def write_error(self, status_code: int, **_: Any) -> None:
        """An error as one line, without what was asked for."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")

    def log_exception(self, *_: Any) -> None:
        """Say nothing: what others ask for is not this person's concern."""

    def _allow_origin(self) -> None:
        """Let pages of the origins that the settings name read the answer."""
        origin = self.request.headers.get("Origin")
        if origin is not None and origin in self.server.config.allow_origins:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Headers", "Range")
            self.set_header("Access-Control-Expose-Headers", "Content-Range, ETag")
            self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
            self.set_header("Vary", "Origin")

    def _host_is_ours(self) -> bool:
        """Whether a page of another site was not made to point here (DNS rebinding)."""
        if not self.server.config.is_local:
            return True
        host = self.request.host.rsplit(":", 1)[0].strip("[]").lower()
        return host in ("127.0.0.1", "localhost", "::1", self.server.config.bind)


class Nothing(Guarded):
    """All other paths."""

    def prepare(self) -> None:
        """No such route."""
        raise HTTPError(404)


class Files(Guarded, StaticFileHandler):
    """Files of one folder, whole or a range of them."""

    def initialize(self, server: "Server", **_: Any) -> None:  # type: ignore[override]
        """Keep the server; which folder it is follows from the path."""
        self.server = server
        StaticFileHandler.initialize(self, "/nowhere")

    def compute_etag(self) -> str | None:
        """From time and size: files of many gigabytes are not read to be named."""
        if getattr(self, "absolute_path", None) is None:  # metadata, which is made here
            return RequestHandler.compute_etag(self)
        return self._version(str(self.absolute_path))

    @classmethod
    def _version(cls, path: str) -> str:
        found = Path(path).stat()
        return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'

    @classmethod
    def get_content_version(cls, abspath: str) -> str:
        """As the ETag."""
        return cls._version(abspath)

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        """Have browsers ask again each time: stores grow while a run goes on."""
        self.set_header("Cache-Control", "no-cache")

    async def _send(self, folder: str, path: str, *, body: bool) -> None:
        try:
            self.root = folder
            self.absolute_path = inside(folder, path)
        except FormatError:
            raise HTTPError(404) from None
        await StaticFileHandler.get(self, path, include_body=body)

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """The file in ``root``, links resolved, or a place where nothing is."""
        try:
            return str(Path(inside(root, path)).resolve())
        except FormatError:
            return "/nowhere"

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Refuse folders and what is not there; ``inside`` has refused what lies elsewhere."""
        if not Path(absolute_path).is_file() or not Path(absolute_path).is_relative_to(Path(root).resolve()):
            raise HTTPError(404)
        return absolute_path


class Client(Files):
    """The page and its scripts."""

    async def get(self, _: str, path: str) -> None:  # type: ignore[override]
        """The page, which finds its state in its fragment, or one of its scripts."""
        if not path and not self.get_query_argument("open", None):
            address = f"{self.request.protocol}://{self.request.host}"
            state = quote(f"{address}/v/{self.server.token}/state.json", safe=":/")
            self.redirect(f"{address}/v/{self.server.token}/?open=1#!{state}")
            return
        await self._send(str(self.server.client), path or "index.html", body=True)

    async def head(self, _: str, path: str) -> None:  # type: ignore[override]
        """As GET, without the content."""
        await self._send(str(self.server.client), path or "index.html", body=False)


class Data(Files):
    """The files of a layer's store, or what is computed in their place."""

    async def get(self, _: str, number: str, path: str) -> None:  # type: ignore[override]
        """A file of the store of layer ``number``, or what is computed in its place."""
        virtual = self._layer(number).virtual
        if virtual is not None:
            found = await asyncio.get_running_loop().run_in_executor(None, virtual.read, path)
            if found is None:
                raise HTTPError(404)
            self.set_header("Content-Type", "application/octet-stream")
            self.finish(found)
        elif path in ("zarr.json", ".zattrs"):
            self._metadata(self._store(number), path)
        else:
            await self._send(self._store(number), path, body=True)

    async def head(self, _: str, number: str, path: str) -> None:  # type: ignore[override]
        """As GET, without the content."""
        await self._send(self._store(number), path, body=False)

    def _layer(self, number: str) -> Layer:
        layers = self.server.scene.layers
        if int(number) >= len(layers):
            raise HTTPError(404)
        return layers[int(number)]

    def _store(self, number: str) -> str:
        store = self._layer(number).store
        if store is None:
            raise HTTPError(404)
        return str(store)

    def _metadata(self, store: str, path: str) -> None:
        """The metadata without units that the client does not know: it would refuse the whole store."""
        file = Path(store, path)
        try:
            if file.stat().st_size > _LARGEST_METADATA:
                raise HTTPError(404)
            document = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            raise HTTPError(404) from None
        self.set_header("Cache-Control", "no-cache")
        self.finish(json.dumps(_with_known_units(document)))


class State(Guarded):
    """What the page shows at first."""

    def get(self, _: str) -> None:
        """What the page shows at first."""
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(self.server.state(f"{self.request.protocol}://{self.request.host}")))


class Properties(Guarded):
    """Names and measures of a layer's segments."""

    def get(self, _: str, number: str) -> None:
        """Names and measures of a layer's segments."""
        layers = self.server.scene.layers
        found = layers[int(number)].properties if int(number) < len(layers) else None
        if found is None:
            raise HTTPError(404)
        self.set_header("Cache-Control", "no-cache")
        self.finish(json.dumps(found))


class Events(Guarded):
    """The stream by which a page knows that the server is there."""

    async def get(self, _: str) -> None:
        """Stay open without an event, so that the page knows that the server is there."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        while not self.server.ended.is_set():
            try:
                self.write(f": {datetime.now(UTC):%H:%M:%S}\n\n")
                await self.flush()
                await asyncio.wait_for(self.server.ended.wait(), _BEAT)
            except TimeoutError:
                continue
            except StreamClosedError:
                return


def _with_known_units(document: Any) -> Any:
    """OME metadata whose axes name a unit of length that viewers know, or none."""
    attributes = document.get("attributes", document) if isinstance(document, dict) else {}
    entry = attributes.get("ome", attributes) if isinstance(attributes, dict) else {}
    scales = entry.get("multiscales") if isinstance(entry, dict) else None
    for one in scales if isinstance(scales, list) else ():
        axes = one.get("axes") if isinstance(one, dict) else None
        for axis in axes if isinstance(axes, list) else ():
            if isinstance(axis, dict) and "unit" in axis and axis.get("type") == "space":
                known = length(str(axis["unit"]))
                axis.pop("unit")
                if known is not None:
                    axis["unit"] = known.name
    return document
