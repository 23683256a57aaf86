"""What a YAML file or ``--set key=value`` may say about the viewer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unet_batch.config import Config

Share = Annotated[float, Field(ge=0, le=1)]


class ViewConfig(Config):
    """Where the viewer is served, and how it looks at first. All of the looks can be changed in the page.

    Attributes:
        bind: address to listen on. The default lets only this machine in.
        port: TCP port; 0 takes a free one.
        certificate: PEM file of a TLS certificate, with ``key``; needed to listen on other addresses.
        key: PEM file of the certificate's private key.
        insecure: listen on other addresses without TLS. The link, and with it the pixels, can then be read
            by everybody on the way.
        allow_origins: web origins whose pages may read the stores, such as https://hms-dbmi.github.io.
        opacity: of classes and objects over the image.
        contrast: percentiles of each channel shown black and white; 8-bit colours are shown as they are.
        layout: ``auto`` is one plane for 2-D images and four panels for 3-D.
        position: where the page begins, in pixels of the image in the order of its axes without channels; the
            middle if not given.
        zoom: screen pixels per pixel of the image; the whole image if not given.
        most_polygons: largest number of outlines taken from a GeoJSON file; more make browsers slow.
        most_objects: largest number of rows taken from a table of objects.
    """

    bind: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    port: int = Field(default=0, ge=0, le=65535)
    certificate: str | None = None
    key: str | None = None
    insecure: bool = False
    allow_origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+$")], ...] = ()
    opacity: Share = 0.4
    contrast: tuple[float, float] = (0.5, 99.8)
    layout: Literal["auto", "xy", "4panel", "xy-3d", "3d"] = "auto"
    position: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] | None = None
    zoom: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    most_polygons: int = Field(default=20_000, ge=1)
    most_objects: int = Field(default=1_000_000, ge=1)

    @model_validator(mode="after")
    def _black_is_below_white(self) -> Self:
        if not 0 <= self.contrast[0] < self.contrast[1] <= 100:
            raise ValueError("contrast: write two percentiles from 0 to 100, the lower first")
        return self

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: give both PEM files, or neither")
        return self

    @model_validator(mode="after")
    def _others_need_tls(self) -> Self:
        if not self.is_local and self.certificate is None and not self.insecure:
            raise ValueError(
                f"bind: {self.bind} lets other machines in, so give `certificate` and `key`, or set "
                "`insecure: true`; without either, open the page through `ssh -L`"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.bind in ("localhost", "::1") or self.bind.startswith("127.")
