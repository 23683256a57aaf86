"""Loss of power: what was not synced is dropped or comes in another order; then the same call again.

Every change that a run makes is written down by the shim and replayed into a model of the disk, in which a
file's content is safe once the file was synced, and a name once its folder was. Of the rest, at any moment,
any part may be lost.
"""

import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults import injector
from tests.faults.campaign import Found
from tests.faults.crashes import Whole, undisturbed
from tests.faults.verbs import World, content
from unet_batch.engine.progress import Hooks

_STATES_PER_RUN = 40


@dataclass(frozen=True)
class Change:
    """One change: what, to which path, to which other, where, and with which bytes."""

    what: str
    path: str
    other: str
    offset: int
    data: bytes


@dataclass
class File:
    """A file of the model: what is safe of it, and writes that are not."""

    safe: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def content(self, kept: int) -> bytes:
        """With the first ``kept`` of the pending writes."""
        data = bytearray(self.safe)
        for change in self.pending[:kept]:
            if change.what == "T":
                data.clear()
            elif change.what == "t":
                data = data[: change.offset].ljust(change.offset, b"\0")
            else:
                data = data.ljust(change.offset, b"\0")
                data[change.offset : change.offset + len(change.data)] = change.data
        return bytes(data)


@dataclass(eq=False)
class Naming:
    """A name that comes or goes; a rename between folders is two, of which both or none are safe."""

    name: str
    node: "File | Folder | None"
    other: "tuple[Folder, Naming] | None" = None


@dataclass
class Folder:
    """A folder of the model: names that are safe, and changes of names that are not."""

    safe: dict[str, "File | Folder"] = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)

    @property
    def now(self) -> dict[str, "File | Folder"]:
        """As the running program sees it."""
        return _with(self.safe, self.pending)

    def sync(self) -> None:
        """All names are safe, and those that renames took elsewhere."""
        self.safe, done, self.pending = self.now, self.pending, []
        for naming in done:
            if naming.other is not None:
                folder, twin = naming.other
                if twin in folder.pending:
                    before = folder.pending[: folder.pending.index(twin) + 1]
                    same = [one for one in before if one.name == twin.name]
                    folder.safe = _with(folder.safe, same)
                    folder.pending = [one for one in folder.pending if one not in same]


class Disk:
    """The model, from the changes of a run to files in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = str(root), Folder()

    def apply(self, change: Change) -> None:
        """One change more."""
        parent, name = self._at(change.path)
        here = parent.now.get(name)
        if change.what in "CM":
            parent.pending.append(Naming(name, File() if change.what == "C" else Folder()))
        elif change.what in "UD":
            parent.pending.append(Naming(name, None))
        elif change.what == "R":
            other, new = self._at(change.other)
            gone, come = Naming(name, None), Naming(new, here)
            gone.other, come.other = (other, come), (parent, gone)
            parent.pending.append(gone)
            other.pending.append(come)
        elif change.what == "S" and isinstance(here, File):
            here.safe, here.pending = here.content(len(here.pending)), []
        elif change.what == "S":
            folder = self.top if change.path == self.root else here
            if isinstance(folder, Folder):
                folder.sync()
        elif isinstance(here, File):
            here.pending.append(change)

    def write(self, place: Path, chance: random.Random) -> None:
        """A state after a loss of power, as files in ``place``."""
        _State(chance, chance.choice([0.0, 0.3, 0.7, 1.0])).write(self.top, place)

    def _at(self, path: str) -> tuple[Folder, str]:
        parts = path.removeprefix(self.root).strip("/").split("/")
        folder = self.top
        for part in parts[:-1]:
            below = folder.now.get(part)
            if not isinstance(below, Folder):
                return Folder(), parts[-1]  # made before the run, or outside
            folder = below
        return folder, parts[-1]


def changes_of(log: Path) -> Iterator[Change]:
    """What the shim wrote down."""
    data, at = log.read_bytes(), 0
    while at < len(data):
        what = chr(data[at])
        one, other = struct.unpack_from("ii", data, at + 1)
        offset, length = struct.unpack_from("ll", data, at + 9)
        at += 25
        path, at = data[at : at + one].decode(), at + one
        second, at = data[at : at + other].decode(), at + other
        held = length if what == "W" else 0
        yield Change(what, path, second, offset, data[at : at + held])
        at += held


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """States of all verbs in turn until time is up."""
    chance = random.Random(seed)
    whole = [undisturbed(verb, folder / verb.name) for verb in world.verbs()]
    while not found.over:
        one = chance.choice(whole)
        states(one, folder / f"{one.verb.name} {found.counts['tries']}", chance, found)


def states(
    whole: Whole, folder: Path, chance: random.Random, found: Found, count: int = _STATES_PER_RUN
) -> None:
    """Run a verb once, and then from ``count`` states that a loss of power may leave of that run."""
    folder.mkdir(parents=True)
    log, out = folder.with_suffix(".log"), folder / whole.verb.out
    injector.run_here(partial(whole.verb.run, out, Hooks()), folder, log=str(log))
    changes = [*changes_of(log)]
    moments = sorted(chance.sample(range(len(changes) + 1), min(count, len(changes))))
    disk, at = Disk(folder), 0
    for moment in moments:
        if found.over:
            break
        for change in changes[at:moment]:
            disk.apply(change)
        at = moment
        shutil.rmtree(folder)
        disk.write(folder, chance)
        fault = _resumed(whole, folder)
        found.count("states", fault and f"{whole.verb.name} after {moment} of {len(changes)}: {fault}")
    shutil.rmtree(folder)
    log.unlink()


def _resumed(whole: Whole, folder: Path) -> str:
    """Go on from a state; what is wrong: a claim of the ledger, an error, or other content at the end."""
    said: list[str] = []
    hooks = Hooks(lambda _, progress: said.append(progress.message))
    last = injector.run_here(partial(whole.verb.run, folder / whole.verb.out, hooks), folder)
    claims = [line for line in said if "are gone" in line or "damaged" in line]
    if claims:
        return f"a claim that is not so: {claims[0]}"
    if last.code and not (last.code == 2 and "exists already" in last.said):
        return f"resumed with {last.code}: {last.said}"
    now = content(folder)
    differ = sorted(name for name in {*now, *whole.content} if now.get(name) != whole.content.get(name))
    return f"other content after resuming: {differ[:5]}" if differ else ""


def _with(names: dict[str, "File | Folder"], changes: list[Naming]) -> dict[str, "File | Folder"]:
    found = dict(names)
    for change in changes:
        if change.node is None:
            found.pop(change.name, None)
        else:
            found[change.name] = change.node
    return found


@dataclass
class _State:
    """One state: of what is not safe each part is there by chance, in its order."""

    chance: random.Random
    share: float
    decided: dict[int, bool] = field(default_factory=dict)

    def write(self, folder: Folder, place: Path) -> None:
        """The folder as files."""
        place.mkdir(parents=True, exist_ok=True)
        for name, node in _with(folder.safe, [one for one in folder.pending if self.keeps(one)]).items():
            if isinstance(node, Folder):
                self.write(node, place / name)
            else:
                some = self.chance.randint(0, len(node.pending))
                part = len(node.pending) if self.chance.random() < self.share else some
                (place / name).write_bytes(node.content(part))

    def keeps(self, naming: Naming) -> bool:
        """Whether a change of a name is there; of a rename both or none."""
        if id(naming) not in self.decided:
            self.decided[id(naming)] = kept = self.chance.random() < self.share
            if naming.other is not None:
                self.decided[id(naming.other[1])] = kept
        return self.decided[id(naming)]
