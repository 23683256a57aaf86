"""Server: a scene over HTTP, to whoever has its link, and nothing else.

Routes, all under ``/v/TOKEN/``: the client's page and scripts, ``state.json``, ``data/N/...`` with the files
of layer N's store as they are, and ``data/N/properties/info``. The page keeps ``/events/TOKEN`` open, by
which it sees when the server ends.
"""

import asyncio
import importlib.util
import secrets
import socket
import ssl
import threading
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.web import Application

from unet_batch.errors import InputError, OutputError
from unet_batch.extras import require
from unet_batch.viewing import handlers
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.layers import Json
from unet_batch.viewing.scene import Scene


class Server:
    """Serves ``scene`` from a thread of its own, between ``start`` and ``stop``, or as a context."""

    def __init__(self, scene: Scene, config: ViewConfig) -> None:
        """Raises an InputError where the client is not installed."""
        self.scene, self.config = scene, config
        self.token = secrets.token_urlsafe(18)
        self.client = client_folder()
        self.port = 0
        self.requests = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._ended: asyncio.Event | None = None
        self._http: HTTPServer | None = None

    def __enter__(self) -> "Server":
        if not self._thread.is_alive():
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        scheme = "http" if self.config.certificate is None else "https"
        host = f"[{self.config.bind}]" if ":" in self.config.bind else self.config.bind
        return f"{scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The link to the page. Whoever has it can see the stores, as long as the server runs."""
        return f"{self.address}/v/{self.token}/"

    def state(self, address: str) -> Json:
        """The page's state for a browser that reaches the server at ``address``."""
        return self.scene.state(
            [f"{address}/v/{self.token}/data/{k}/" for k in range(len(self.scene.layers))]
        )

    def start(self) -> None:
        """Listen.

        Raises:
            OutputError: the address or port cannot be had, or the certificate cannot be used.
        """
        context = self._tls()
        try:
            family = socket.AF_INET6 if ":" in self.config.bind else socket.AF_INET
            listening = socket.create_server((self.config.bind, self.config.port), family=family)
        except OSError as error:
            raise OutputError(
                f"{self.config.bind}:{self.config.port}: cannot listen there ({error.strerror or error}); "
                "choose another `port` or `bind`"
            ) from None
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread.start()

        async def listen() -> None:
            self._ended = asyncio.Event()
            self._http = HTTPServer(self._application(), ssl_options=context)
            self._http.add_socket(listening)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def stop(self) -> None:
        """Stop listening; open pages say so. Does nothing the second time."""
        if self._loop is not None and self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    async def _close(self) -> None:
        assert self._http is not None, "started"
        self.ended.set()
        self._http.stop()
        await self._http.close_all_connections()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self) -> None:
        assert self._loop is not None, "started"
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _tls(self) -> ssl.SSLContext | None:
        if self.config.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.config.certificate, self.config.key)
        except OSError as error:
            raise OutputError(
                f"{self.config.certificate}: no certificate with its key ({error}); give PEM files of both"
            ) from None
        return context

    def _application(self) -> Application:
        own = {"server": self}
        return Application(
            [
                (r"/v/([^/]+)/state\.json", handlers.State, own),
                (r"/v/([^/]+)/data/(\d{1,6})/properties/info", handlers.Properties, own),
                (r"/v/([^/]+)/data/(\d{1,6})/(.*)", handlers.Data, own),
                (r"/v/([^/]+)/(.*)", handlers.Client, own),
                (r"/events/([^/]+)", handlers.Events, own),
            ],
            default_handler_class=handlers.Nothing,
            default_handler_args=own,
            log_function=self._count,
            compress_response=False,
        )

    def _count(self, _: object) -> None:
        self.requests += 1

    @property
    def ended(self) -> asyncio.Event:
        """Set once the server stops."""
        assert self._ended is not None, "started"
        return self._ended


def client_folder() -> Path:
    """Where neuroglancer's package keeps its web client; the package itself is not imported."""
    require("neuroglancer", "view", "the viewer")
    found = importlib.util.find_spec("neuroglancer")
    folders = found.submodule_search_locations if found is not None else None
    folder = Path(next(iter(folders or [""]))) / "static" / "client"
    if not (folder / "index.html").is_file():
        raise InputError(f"{folder}: neuroglancer without its client; run: pip install 'unet-batch[view]'")
    return folder
