"""A picture of a page, drawn by Chromium without a screen, once all that is in view has been drawn.

Chromium is spoken to by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from unet_batch.atomic import atomic_write
from unet_batch.errors import InputError, OutputError

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless=new",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
_READY = "typeof viewer !== 'undefined' && viewer.layerManager.managedLayers.length > 0 && viewer.isReady()"
_ERRORS = "viewer.layerManager.managedLayers.map(l => l.layer && l.layer.messages ? " + (
    "[...l.layer.messages].map(m => m.message).join('; ') : '').filter(t => t).join('; ')"
)
_LARGEST = 256 << 20


def screenshot(url: str, path: Path, size: tuple[int, int] = (1600, 1000), patience: float = 120.0) -> None:
    """Draw the page at ``url`` into the PNG file ``path``.

    Args:
        url: of a running server.
        path: replaced if it is there.
        size: width and height of the window in pixels.
        patience: seconds until what is not drawn by then is given up.

    Raises:
        InputError: no Chromium on this machine.
        OutputError: the browser does not start or does not finish the picture, or the file cannot be written.
    """
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise InputError(
            "a screenshot needs Chromium or Chrome, and none is installed; install it, or open the page"
        )
    with _browser(program, size) as endpoint:
        try:
            picture = asyncio.run(asyncio.wait_for(_drawn(endpoint, url, size), patience))
        except (TimeoutError, OSError) as error:
            raise OutputError(
                f"{path}: the page was not drawn within {patience:.0f} s ({error or 'timed out'}); "
                "open it in a browser to see why"
            ) from None
    atomic_write(path, picture)


@contextmanager
def _browser(program: str, size: tuple[int, int]) -> Iterator[str]:
    """The address of a new browser's debugger; the browser ends with the context."""
    with TemporaryDirectory(prefix="unet_batch_", ignore_cleanup_errors=True) as folder:
        options = [*_OPTIONS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"]
        if os.geteuid() == 0:
            options.append(
                "--no-sandbox"
            )  # Chromium's sandbox refuses root; it opens this server's page alone
        process = subprocess.Popen(  # noqa: S603 - the browser that is installed, on our own page
            [program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            yield _endpoint(process)
        finally:
            process.kill()
            process.communicate()


def _endpoint(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if "DevTools listening on " in line:
            return line.split("DevTools listening on ", 1)[1].strip()
        said.append(line.strip())
    raise OutputError(f"Chromium does not start ({' '.join(said[-2:])[:300]}); run it by hand to see why")


class _Page:
    """One tab, by the debugger's JSON messages."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket, self.session, self.count = socket, "", 0

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.socket.write_message(json.dumps(message))
        while True:
            text = await self.socket.read_message()
            if text is None:
                raise OSError("the browser has ended")
            answer = json.loads(text)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise OSError(str(answer["error"].get("message")))
                result: dict[str, Any] = answer.get("result", {})
                return result

    async def value(self, expression: str) -> Any:
        """What JavaScript in the page evaluates to; None where it fails."""
        found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in found else found.get("result", {}).get("value")


async def _drawn(endpoint: str, url: str, size: tuple[int, int]) -> bytes:
    socket = await websocket_connect(endpoint, max_message_size=_LARGEST)
    try:
        return await _picture(_Page(socket), url, size)
    finally:
        socket.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while await socket.read_message() is not None:
                    pass


async def _picture(page: _Page, url: str, size: tuple[int, int]) -> bytes:
    target = await page.ask("Target.createTarget", url="about:blank")
    attached = await page.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    page.session = attached["sessionId"]
    await page.ask(
        "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
    )
    await page.ask("Page.navigate", url=url)
    calm = 0
    while calm < 3:  # chunks on their way to the screen are not counted for a moment
        await asyncio.sleep(0.15)
        calm = calm + 1 if await page.value(_READY) else 0
        if fault := await page.value(_ERRORS):
            raise OSError(fault)
    shot = await page.ask("Page.captureScreenshot", format="png")
    return base64.b64decode(shot["data"])
