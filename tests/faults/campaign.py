"""What every campaign counts: tries, passes, and each failure by where it happened."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_KEPT, _LEAST = 20, 4


@dataclass
class Found:
    """Counts of one campaign, which grows from run to run.

    Attributes:
        until: monotonic time at which it ends.
        counts: tries and passes by kind.
        failures: the first of what went wrong, a line each.
    """

    until: float
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether its time is, and some tries were made."""
        return time.monotonic() > self.until and self.counts["tries"] >= _LEAST

    def count(self, kind: str, fault: str = "") -> bool:
        """One try of a kind; ``fault`` says what went wrong, and is empty for a pass. Whether it passed."""
        self.counts[kind] += 1
        self.counts["tries"] += 1
        if fault:
            self.counts["failed"] += 1
            if len(self.failures) < _KEPT:
                self.failures.append(f"{kind}: {' '.join(fault.split())[-400:]}")
        return not fault

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"counts": dict(sorted(self.counts.items())), "failures": self.failures}
