"""Whatever befalls a mask store, in any order: after a repair and a run its bytes are those of a whole one.

A state machine of hypothesis: run, stop, crash, damage, delete, verify, repair, resume, of a tiny prediction.
"""

import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.faults import injector
from tests.faults.campaign import Found
from tests.faults.injector import DEAD
from tests.faults.verbs import PREDICT, World
from tests.worlds import shard_hashes, stopper
from unet_batch.engine.progress import Hooks
from unet_batch.errors import UnetBatchError
from unet_batch.prediction.run import predict
from unet_batch.prediction.verify import Verification, verify

_STEPS = 12
_CHANGES = 260  # to files in about a whole run; a crash may come later, and then is none


class Store(RuleBasedStateMachine):
    """One mask store, to which things happen; at the end it is mended and compared with ``whole``."""

    world: ClassVar[World]
    folder: ClassVar[Path]
    whole: ClassVar[dict[str, str]]
    found: ClassVar[Found]

    def __init__(self) -> None:
        super().__init__()
        self.out = self.folder / "store" / "out.zarr"
        self.told: list[str] = []

    @initialize()
    def empty(self) -> None:
        """Nothing is there."""
        shutil.rmtree(self.out.parent, ignore_errors=True)
        self.out.parent.mkdir(parents=True)

    @rule()
    def run(self) -> None:
        """To its end, or to what it refuses."""
        self._refused("run", self._predict)

    @rule(after=some.integers(1, 5))
    def stop(self, after: int) -> None:
        """End it after some blocks."""
        self._refused(f"stop after {after}", partial(self._predict, stopper(after)[0]))

    @rule(at=some.integers(1, _CHANGES))
    def crash(self, at: int) -> None:
        """Let nothing reach the disk from a change to a file on."""
        self.told.append(f"crash at {at}")
        outcome = injector.run_here(self._predict, self.out.parent, DEAD, at)
        assert outcome.code in (0, 2, 99), outcome.said

    @rule(which=some.integers(0, 99), bit=some.integers(0, 10**6))
    def flip(self, which: int, bit: int) -> None:
        """A bit of a shard."""
        if file := self._shard(which):
            data = bytearray(file.read_bytes())
            if data:
                data[bit // 8 % len(data)] ^= 1 << bit % 8
                file.write_bytes(data)
                self.told.append(f"flip bit {bit % (8 * len(data))} of {file.relative_to(self.out)}")

    @rule(which=some.integers(0, 99), share=some.floats(0, 0.99))
    def cut(self, which: int, share: float) -> None:
        """A shard's end."""
        if file := self._shard(which):
            file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
            self.told.append(f"cut {file.relative_to(self.out)} to {share:.2f}")

    @rule(which=some.integers(0, 99))
    def delete(self, which: int) -> None:
        """A shard."""
        if file := self._shard(which):
            file.unlink()
            self.told.append(f"delete {file.relative_to(self.out)}")

    @rule()
    def verify(self) -> None:
        """Whether what it finds whole is whole."""
        found = self._refused("verify", partial(verify, self.out))
        if isinstance(found, Verification) and found.whole:
            assert shard_hashes(self.out) == self.whole, f"found whole after {self.told}"

    @rule()
    def repair(self) -> None:
        """What a run left, and damage did, is computed again."""
        self._refused("repair", self._repair)

    def teardown(self) -> None:
        """Run to the end and repair, without a refusal; then the bytes are those of the whole store."""
        if self.out.parent.exists():
            self._mended()

    def _mended(self) -> None:
        try:
            if not self.out.exists():
                self._predict()
            self._repair()
            self._predict()
            fault = "" if verify(self.out).whole else "it is not found whole"
            now = shard_hashes(self.out)
            differ = sorted(name for name in {*now, *self.whole} if now.get(name) != self.whole.get(name))
            fault = f"other bytes: {differ[:4]}" if differ else fault
        except UnetBatchError as error:
            fault = f"refused at the end: {error}"
        passed = self.found.count("examples", f"{fault} after {self.told}" if fault else "")
        assert passed, f"{fault} after {self.told}"

    def _predict(self, hooks: Hooks = Hooks()) -> object:
        at = self.world.folder
        return predict(at / "image.zarr", self.out, at / "net.safetensors", PREDICT, hooks=hooks)

    def _repair(self) -> Verification:
        at = self.world.folder
        return verify(
            self.out, repair=True, image=at / "image.zarr", model=at / "net.safetensors", config=PREDICT
        )

    def _refused(self, what: str, action: Callable[[], object]) -> object:
        """What the action gives, or an error of this program in one line."""
        self.told.append(what)
        try:
            return action()
        except UnetBatchError as error:
            said = str(error)
        assert "\n" not in said
        self.told[-1] += f" ({said:.80})"
        return None

    def _shard(self, which: int) -> Path | None:
        """One of the files with pixels or records of blocks; None where there is none yet."""
        files = [file for file in sorted(self.out.rglob("c/**/*")) if file.is_file()]
        return files[which % len(files)] if files else None


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """Examples until time is up."""
    folder.mkdir(parents=True)
    Store.world, Store.folder, Store.found = world, folder, found
    predict(world.folder / "image.zarr", folder / "whole.zarr", world.folder / "net.safetensors", PREDICT)
    Store.whole = shard_hashes(folder / "whole.zarr")
    chance = random.Random(seed)
    while not found.over:
        left = found.until - time.monotonic()
        how = settings(
            max_examples=25 if left > 60 else 2,
            stateful_step_count=_STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
            print_blob=False,
        )
        try:
            seeded(chance.getrandbits(32))(Store)
            run_state_machine_as_test(Store, settings=how)
        except AssertionError as error:
            if not found.failures:
                found.count("steps", str(error))
