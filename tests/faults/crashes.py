"""Crashes and refusals at every change to a file, of every verb; then the same call again, to equal bytes."""

import errno
import random
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import injector
from tests.faults.campaign import Found
from tests.faults.injector import DEAD, ERRNOS, REFUSE, Outcome
from tests.faults.verbs import Verb, World, content
from unet_batch.engine.progress import Hooks

TWICE = 0.25  # of the crashes are followed by another one, in the run that resumes


@dataclass(frozen=True)
class Whole:
    """A verb that nothing disturbed: how many changes it made, and what was there afterwards."""

    verb: Verb
    changes: int
    content: dict[str, str]


def undisturbed(verb: Verb, folder: Path) -> Whole:
    """The verb's run in ``folder``, which is emptied."""
    outcome = _run(verb, _emptied(folder))
    assert outcome.code == 0, f"{verb.name}: {outcome.said}"
    return Whole(verb, outcome.changes, content(folder))


def crash(whole: Whole, folder: Path, at: int, again: int = 0) -> str:
    """End a run before a change, and, where ``again`` is given, the next run too; what is wrong then.

    To be ended after a change is to be ended before the next one; after the last it is to end.
    """
    _run(whole.verb, _emptied(folder), DEAD, at)
    if again:
        _run(whole.verb, folder, DEAD, again)
    return _resumed(whole, folder)


def refusal(whole: Whole, folder: Path, at: int, error: int) -> str:
    """Refuse a change; what is wrong with what the run says, or with the next one."""
    first = _run(whole.verb, _emptied(folder), REFUSE, at, error)
    if first.code not in (0, 2):
        return f"{errno.errorcode[error]} ended with {first.code}: {first.said}"
    if "\n" in first.said:
        return f"{errno.errorcode[error]}: more than a line: {first.said}"
    return _resumed(whole, folder)


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """Points in a random order until time is up."""
    whole = [undisturbed(verb, folder / verb.name) for verb in world.verbs()]
    chance = random.Random(seed)
    while not found.over:
        one = chance.choice(whole)
        at, place = chance.randint(1, one.changes), folder / f"{one.verb.name} {found.counts['tries']}"
        if chance.random() < 0.6:
            again = chance.randint(1, one.changes) if chance.random() < TWICE else 0
            fault = crash(one, place, at, again)
            kind = "crashes twice" if again else "crashes"
            where = f"{one.verb.name} at {at} then {again}: "
        else:
            name = chance.choice([*ERRNOS])
            fault, kind = refusal(one, place, at, ERRNOS[name]), f"refusals {name}"
            where = f"{one.verb.name} at {at}: "
        found.count(kind, fault and where + fault)
        shutil.rmtree(place)


def _resumed(whole: Whole, folder: Path) -> str:
    """The same call once more; what is wrong with its end or with what is there."""
    last = _run(whole.verb, folder)
    there = last.code == 2 and "exists already" in last.said
    if last.code and not there:
        return f"resumed with {last.code}: {last.said}"
    now = content(folder)
    if now != whole.content:
        differ = sorted(name for name in {*now, *whole.content} if now.get(name) != whole.content.get(name))
        return f"other content after resuming: {differ[:5]}"
    return ""


def _run(verb: Verb, folder: Path, how: int = injector.COUNT, at: int = 0, error: int = 0) -> Outcome:
    return injector.run_here(partial(verb.run, folder / verb.out, Hooks()), folder, how, at, error)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
