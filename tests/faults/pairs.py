"""Two verbs to one output at once: each ends as it does alone, or is refused in a line."""

import itertools
import multiprocessing
import os
import random
import shutil
import time
import traceback
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.faults import one_thread
from tests.faults.campaign import Found
from tests.faults.verbs import Verb, World, content
from unet_batch.engine.progress import Hooks
from unet_batch.errors import UnetBatchError

_SECONDS = 120
# Forks of a process that has imported everything and has no threads yet, which would not live on in them.
_FORKS = multiprocessing.get_context("forkserver")


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """All pairs with one output, again and again, with starts up to 50 ms apart, until time is up."""
    _FORKS.set_forkserver_preload(["tests.faults.verbs"])
    chance, verbs = random.Random(seed), world.verbs()
    alone = {verb.name: _alone(world, verb, folder / verb.name) for verb in verbs}
    pairs = [
        two for two in itertools.combinations_with_replacement(verbs, 2) if len({one.out for one in two}) == 1
    ]
    chance.shuffle(pairs)
    for pair in itertools.cycle(pairs):
        if found.over:
            return
        place = folder / "at once"
        fault = at_once(world, pair, place, chance.uniform(0, 0.05), alone)
        found.count(f"{pair[0].name} and {pair[1].name}", fault)
        shutil.rmtree(place)


def at_once(
    world: World, pair: tuple[Verb, Verb], folder: Path, apart: float, alone: dict[str, dict[str, str]]
) -> str:
    """Run both in ``folder``; what is wrong with their ends or with what is there."""
    folder.mkdir(parents=True)
    said = [folder.with_name(f"said {number}") for number in range(2)]
    runs = [_started(world, pair[number], folder, said[number], number * apart) for number in range(2)]
    codes = [_ended(run) for run in runs]
    lines = [file.read_text() for file in said]
    for verb, code, line in zip(pair, codes, lines, strict=True):
        if code not in (0, 2) or "\n" in line:
            return f"{verb.name} ended with {code}: {line}"
    done = [alone[verb.name] for verb, code in zip(pair, codes, strict=True) if code == 0]
    if not done:
        return f"both are refused: {lines}"
    return "" if content(folder) in done else f"other content than alone: {codes}, {lines}"


def _alone(world: World, verb: Verb, folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True)
    said = folder.with_name("said")
    assert _ended(_started(world, verb, folder, said, 0)) == 0, said.read_text()
    return content(folder)


def _started(world: World, verb: Verb, folder: Path, said: Path, after: float) -> BaseProcess:
    """The verb in a process of its own, which writes an error of it to ``said``."""
    said.write_text("")
    process = _FORKS.Process(target=_act, args=(world, verb.name, folder, said, after))
    process.start()
    return process


def _act(world: World, name: str, folder: Path, said: Path, after: float) -> None:
    one_thread.use()
    verb = next(one for one in world.verbs() if one.name == name)
    time.sleep(after)
    code = 0
    try:
        verb.run(folder / verb.out, Hooks())
    except UnetBatchError as error:
        code = 2
        said.write_text(str(error))
    except BaseException:  # noqa: BLE001 - the process ends here whatever it was
        code = 99
        said.write_text(traceback.format_exc())
    os._exit(code)


def _ended(process: BaseProcess) -> int | None:
    """Its exit code; None where it hung and was killed."""
    process.join(_SECONDS)
    code = process.exitcode
    process.kill()
    process.join()
    return code
