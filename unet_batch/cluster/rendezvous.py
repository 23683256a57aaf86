"""Rendezvous: the scheduler file by which drivers and workers of a pool find each other, with its key.

Nothing else carries addresses or keys. Both files are readable by their owner alone and renamed into place.
"""

import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from distributed import Security

from unet_batch.atomic import atomic_write
from unet_batch.errors import ConfigError, FormatError, MissingError, text_of

OWN = "unet_batch"  # our part of a file whose other keys are Dask's


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where the scheduler listens.

    Attributes:
        address: ``tcp://host:port`` or ``tls://host:port``.
        key: file with certificate and private key (PEM) that all of a pool share; None without TLS.
        patience: seconds that a driver waits while the pool has no worker at all.
        dashboard: how a person gets to see it; empty where the file does not say.
    """

    address: str
    key: Path | None = None
    patience: float = inf
    dashboard: str = ""

    @classmethod
    def read(cls, path: Path) -> "Rendezvous":
        """What a scheduler file says, also one that ``dask scheduler --scheduler-file`` wrote.

        Raises:
            MissingError: no such file.
            FormatError: not a scheduler file.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            own: dict[str, Any] = values.get(OWN, {})
            key = path.with_name(own["key"]) if own.get("key") else None
            patience, dashboard = float(own.get("patience", inf)), str(own.get("dashboard", ""))
            return cls(str(values["address"]), key, patience, dashboard)
        except FileNotFoundError:
            raise MissingError(
                f"{path}: no such scheduler file; start `dask scheduler --scheduler-file` first"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = text_of(error)
            raise FormatError(f"{path}: not a scheduler file ({reason}); start the scheduler again") from None

    def write(self, path: Path) -> None:
        """Let others find this scheduler."""
        key = self.key.name if self.key else None
        own = {"patience": self.patience, "key": key, "dashboard": self.dashboard}
        write_private(path, json.dumps({"type": "Scheduler", "address": self.address, OWN: own}, indent=2))

    @property
    def security(self) -> Security:
        """What Dask's connections to this scheduler need."""
        return Security() if self.key is None else security_of(self.key)


def new_key(path: Path) -> Security:
    """A fresh certificate and its private key, kept in ``path``, which is all that a pool's members share.

    Raises:
        ConfigError: the library that makes them is not there.
    """
    try:
        made = Security.temporary()
    except ImportError:
        raise ConfigError("`tls`: needs the package cryptography; install it, or set tls: false") from None
    write_private(path, f"{made.tls_scheduler_key}{made.tls_scheduler_cert}")
    return security_of(path)


def security_of(key: Path) -> Security:
    """TLS for every role by one file."""
    file = str(key)
    roles = {f"tls_{role}_cert": file for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=file, **roles)


def write_private(path: Path, text: str) -> None:
    """A file of mode 0600, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    atomic_write(path, text, mode=0o600)
