"""Whether two states of this package do the same: commands run with both, their files compared byte by byte.

    git worktree add ../before 32b754e
    python benchmarks/same_bytes.py --before ../before --after .    # --only GLOB, --keep FOLDER, --help

Commands go through the command line alone (`same_cases.py`), as names in Python may change; inputs are made
here (`same_inputs.py`). Some runs are begun by the old code, killed in the middle and finished by the new.
Differences that are meant are written down, with the reason, in `same_explained.py`. Prints a table, writes
JSON, and exits with 1 where a difference is not explained. Some three minutes on two cores.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from machine import facts, source_hash
from same_cases import Case, chosen, networks
from same_compare import Difference, cleaned, differences, finished, of_values
from same_explained import EXPLAINED
from same_inputs import make

RESULTS = Path(__file__).parent / "results" / "same_bytes.json"
LIMIT = 300  # seconds that a command may take
DELAYS = (0.4, 0.1, 0.02, 0.0, 0.0)  # seconds from the first block to the kill; less where the run had ended
ASKED = ("info", "status", "verify", "evaluate")


@dataclass(frozen=True, slots=True)
class Side:
    """One state of the package, and the folder that it works in."""

    tree: Path
    python: str
    folder: Path
    new: bool = False

    def call(self, *words: str) -> subprocess.Popen[str]:
        """``unet-batch WORDS...``, begun."""
        compiled = {
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "pyc"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        env = {**os.environ, **compiled, "PYTHONPATH": str(self.tree), "OMP_WAIT_POLICY": "PASSIVE"}
        return subprocess.Popen(
            [self.python, "-m", "unet_batch", *words],
            cwd=self.folder,
            env=env,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str) -> "Answer":
        """``unet-batch WORDS...``, to its end."""
        running = self.call(*words)
        try:
            out, err = running.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            return Answer(-9, "", f"took longer than {LIMIT} s")
        return Answer(running.returncode, out, err)


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def values(self) -> Any:
        """Of --json, else the lines."""
        try:
            return json.loads(cleaned(self.out.encode()))
        except ValueError:
            return cleaned(self.out.encode()).decode().splitlines()

    @property
    def refusal(self) -> str | None:
        """The one line of a refusal."""
        lines = self.err.strip().splitlines()
        return lines[0] if self.code == 2 and len(lines) == 1 and lines[0].startswith("error: ") else None


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a case: ``equal``, ``explained``, ``refused`` or ``differs``."""

    case: str
    state: str
    differences: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    note: str = ""


def judged(name: str, found: list[Difference], note: str = "") -> Found:
    """With the reasons that are known for each difference."""
    reasons = {(where, how): reason_for(name, where, how) for where, how in found}
    open_ones = tuple(f"{where}: {how}" for (where, how), reason in reasons.items() if reason is None)
    known = tuple(dict.fromkeys(reason for reason in reasons.values() if reason))
    return Found(name, "differs" if open_ones else "explained" if known else "equal", open_ones, known, note)


def reason_for(name: str, where: str, how: str) -> str | None:
    """Why this difference is meant, if it is."""
    for in_case, in_file, in_words, reason in EXPLAINED:
        if fnmatchcase(name, in_case) and fnmatchcase(where, in_file) and fnmatchcase(how, in_words):
            return reason
    return None


def compared(case: Case, was: Answer, now: Answer, sides: tuple[Side, Side]) -> Found:
    """Answers and files of one command by both."""
    found: list[Difference] = []
    if was.code != case.code:
        found.append(("before", f"exit code {was.code}: {last_line(was.err)}"))
    if now.code != was.code:
        found.append(("exit code", f"{was.code} -> {now.code}: {last_line(now.err)}"))
    found += [("answer", how) for how in of_values(was.values, now.values, gains=False)]
    missing = [output for output in case.outputs if not (sides[0].folder / output).exists()]
    found += [(output, "the old code did not write it") for output in missing]
    for output in case.files:
        before, after = (side.folder / output for side in sides)
        found += [(f"{output}/{name}", how) for name, how in differences(before, after)]
    return judged(case.name, found)


def last_line(text: str) -> str:
    """Of what went to stderr."""
    return (text.strip().splitlines() or [""])[-1]


def json_asked(case: Case, side: Side) -> tuple[str, ...]:
    """The command as a side takes it; its answer as JSON where it has one."""
    words = (*case.words, *(case.named if side.new else ()))
    return words if words[0] == "model" else (*words, "--json")


def run_all(side: Side, chosen: list[Case]) -> dict[str, Answer]:
    """Every case, in order."""
    return {case.name: side.run(*json_asked(case, side)) for case in chosen}


def taken_over(case: Case, old: Side, new: Side, whole: Side) -> Found:
    """A run that the old code began and the new ends, compared with one that the old code did alone."""
    name = f"{case.name} | begun by the old code"
    for delay in DELAYS:
        blocks = killed(case, old, delay)
        if blocks:
            break
        remove(case, old.folder)
    else:
        return Found(name, "differs", ("it ended before it could be killed",))
    answer = new.run(*case.words, "--json-lines")
    if answer.refusal:
        return Found(name, "refused", note=answer.refusal)
    failed = [] if answer.code == 0 else [("exit code", f"{answer.code}: {last_line(answer.err)}")]
    found: list[Difference] = [*failed]
    for output in case.files:
        pair = whole.folder / output, old.folder / output
        found += [(f"{output}/{where}", how) for where, how in differences(*pair, resumed=True)]
    left = next(totals(answer.out.splitlines()), 0)
    return judged(name, found, f"killed with {blocks} blocks to do, resumed with {left}")


def killed(case: Case, side: Side, delay: float) -> int:
    """Begin a run and kill it, with its workers, soon after its first block.

    Returns how many blocks it had to do; 0 where it ended before the kill.
    """
    running = side.call(*case.words, "--json-lines")
    assert running.stdout is not None
    blocks = next(totals(running.stdout), 0)
    time.sleep(delay)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    whole = any(finished(side.folder / output) for output in case.outputs)
    return 0 if whole or running.returncode != -signal.SIGKILL else blocks


def totals(lines: Iterable[str]) -> Iterator[int]:
    """What lines of progress give as the blocks to do, from the first block on."""
    steps = (json.loads(line) for line in lines if line.startswith("{"))
    return (step["blocks_total"] for step in steps if step["event"] == "progress" and step["blocks_done"])


def remove(case: Case, folder: Path) -> None:
    """What a case wrote, whole or not."""
    for output in case.files:
        for path in (folder / output, folder / f"{output.rstrip('/')}.partial"):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)


def reads(case: Case, was: Answer, side: Side) -> Found:
    """What the new code says of a store that the old code wrote."""
    now = side.run(*json_asked(case, side))
    found = [("answer", how) for how in of_values(was.values, now.values, gains=False)]
    if now.code != was.code:
        found.append(("exit code", f"{was.code} -> {now.code}: {last_line(now.err)}"))
    return judged(f"{case.name} | of the old code's store", found)


def measured(args: argparse.Namespace, work: Path) -> list[Found]:
    """All cases."""
    was = Side(args.before.resolve(), args.before_python, work / "was")
    now = Side(args.after.resolve(), args.after_python, work / "now", new=True)
    make(was.folder)
    shutil.copytree(was.folder, now.folder)
    given = chosen(args.only)
    with ThreadPoolExecutor(2) as pool:
        found = both(pool, (was, now), networks())[0]
        for file in was.folder.glob("*.safetensors"):
            shutil.copy2(file, now.folder)  # from here on the same, whatever was made
        more, answers = both(pool, (was, now), given)
        shutil.copytree(was.folder, work / "mid")
        old, new = (replace(side, folder=work / "mid") for side in (was, now))
        for case in given:
            if case.killed:
                remove(case, old.folder)
        begun = pool.map(
            lambda case: taken_over(case, old, new, was), [case for case in given if case.killed]
        )
        asked = [case for case in given if case.words[0] in ASKED]
        read = pool.map(lambda case: reads(case, answers[case.name], new), asked)
        return [*found, *more, *begun, *read]


def both(
    pool: ThreadPoolExecutor, sides: tuple[Side, Side], chosen: list[Case]
) -> tuple[list[Found], dict[str, Answer]]:
    """Cases run by both at once; what they came to, and what the old code answered."""
    first, second = pool.map(lambda side: run_all(side, chosen), sides)
    return [compared(case, first[case.name], second[case.name], sides) for case in chosen], first


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="source tree of the old code")
    parser.add_argument("--after", type=Path, required=True, help="source tree of the new code")
    parser.add_argument("--before-python", default=sys.executable, help="interpreter of the old code")
    parser.add_argument("--after-python", default=sys.executable, help="interpreter of the new code")
    parser.add_argument("--only", default="*", help="only cases whose name fits, and those that they need")
    parser.add_argument("--keep", type=Path, help="leave inputs and outputs in this new folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    return parser.parse_args()


def show(found: list[Found]) -> None:
    """The table."""
    width = max(len(one.case) for one in found)
    for one in found:
        print(f"{one.case:{width}}  {one.state:9}  {one.note}")
        for line in (*one.differences[:8], *(f"because {reason}" for reason in one.reasons)):
            print(f"{'':{width}}    {line}")
    print(", ".join(f"{count} {state}" for state, count in Counter(one.state for one in found).items()))


def main() -> None:
    """Run, tell, keep."""
    args, began = arguments(), time.monotonic()
    with TemporaryDirectory() as scratch:
        found = measured(args, args.keep.resolve() if args.keep else Path(scratch))
    seconds = round(time.monotonic() - began)
    show(found)
    trees = {name: source_hash(getattr(args, name) / "unet_batch") for name in ("before", "after")}
    result = {"benchmark": "same_bytes", **facts(), "sources": trees, "seconds": seconds}
    args.results.write_text(json.dumps({**result, "cases": [asdict(one) for one in found]}, indent=2) + "\n")
    sys.exit(any(one.state == "differs" for one in found))


if __name__ == "__main__":
    main()
