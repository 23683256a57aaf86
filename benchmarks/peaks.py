"""The most memory that a process and its children ever held. Linux: the kernel's own count (VmHWM)."""

import threading
from pathlib import Path

import psutil

POLL_SECONDS = 0.2


class Peaks(threading.Thread):
    """Largest peak among this process's children so far, in bytes; polled, as they end before we ask."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker, self.ended = 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(POLL_SECONDS):
            for child in psutil.Process().children(recursive=True):
                self.worker = max(self.worker, peak_of(child.pid))


def peak_of(pid: int) -> int:
    """The most memory that a process ever held, as the kernel counted it; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
