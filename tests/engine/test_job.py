"""A block job: resumed, refused, begun anew, stopped, killed anywhere; one output, and nothing beside it."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.engine.jobs import SquaresJob, SquaresPlan, killed_at, stop_after
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import run_job
from unet_batch.engine.progress import Hooks
from unet_batch.engine.worker_pool import Workers
from unet_batch.errors import DamageError, InputError, OutputError, PlanMismatchError, StoreBusyError
from unet_batch.store.ledger import Ledger

BLOCKS = [0, 1, 3, 4, 5]  # block 2 is known to be empty


def expected(power=2):
    found = np.arange(36).reshape(2, -1) ** power
    found[0, 12:18] = 0
    return found


@pytest.fixture
def job(tmp_path):
    (tmp_path / "work").mkdir()
    return SquaresJob(tmp_path / "work" / "out.npy")


def beside(job):
    """What lies beside the output and the log of the work."""
    return {path.name for path in job.out.parent.iterdir()} - {job.out.name, job.log.name}


def test_a_job_gives_its_output_and_nothing_else(job):
    assert run_job(job) == expected().sum()
    np.testing.assert_array_equal(np.load(job.out), expected())
    assert sorted(job.computed()) == BLOCKS
    assert not beside(job)


def test_a_stopped_job_goes_on_and_does_no_block_again(job):
    assert run_job(job, stop_after(2)) is None
    assert not job.out.exists()
    messages = []
    hooks = Hooks(lambda _, progress: messages.append(progress.message))
    assert run_job(job, hooks) == expected().sum()
    assert sorted(job.computed()) == BLOCKS
    assert "resuming: 3 of 6 blocks are left" in messages


def test_progress_counts_the_blocks_of_all_passes_once(job):
    job.twice = True
    seen = []
    run_job(job, Hooks(lambda event, progress: seen.append((event, progress))))
    blocks = [progress for event, progress in seen if event is not None]
    assert [(one.blocks_done, one.blocks_total) for one in blocks] == [(n, 11) for n in range(1, 12)]
    assert [one.pixels for one in blocks] == [6 * n for n in range(1, 12)]
    joining = [progress for event, progress in seen if event is None]
    assert joining[0].message == "joining"
    assert [one.blocks_done for one in joining[1:]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("twice", "every"), [(False, 8), (True, 31)])
def test_killed_before_any_change_to_a_file_it_goes_on(tmp_path, twice, every):
    """Whenever a run makes, renames or removes a file a kill may come; here at some of these moments."""
    operation, killed = 1 - every, True
    while killed:
        operation += every
        folder = tmp_path / str(operation)
        folder.mkdir()
        job = SquaresJob(folder / "out.npy", twice=twice)
        killed = killed_at(operation, folder / "out.npy", lambda job=job: run_job(job))
        if killed and job.out.exists() and not any(job.target.folder.glob("*")):
            continue  # all but the empty folder is gone
        assert not killed or run_job(job) == (expected() if not twice else np.arange(36) ** 2).sum()
        once = sorted(BLOCKS + [0, 1, 2, 3, 4, 5] * twice)
        again = job.computed()
        for block in once:
            again.remove(block)
        assert len(again) <= 1, "only the block that was under way is done again"
        assert job.out.exists()
        assert not beside(job)
        shutil.rmtree(folder)
    assert operation > 100


def test_another_plan_is_refused_and_told_what_differs(job):
    run_job(job, stop_after(2))
    other = SquaresJob(job.out, power=3)
    with pytest.raises(PlanMismatchError, match=r"power: 3, not 2.*or remove .*out\.npy\.partial"):
        run_job(other)
    assert run_job(job) == expected().sum()
    assert sorted(job.computed()) == BLOCKS


def test_another_plan_begins_anew_where_that_is_asked_for(job):
    run_job(job, stop_after(2))
    with pytest.raises(PlanMismatchError, match="give --overwrite"):
        run_job(SquaresJob(job.out, power=3, overwrite=False))
    assert run_job(SquaresJob(job.out, power=3, overwrite=True)) == expected(3).sum()
    np.testing.assert_array_equal(np.load(job.out), expected(3))
    assert not beside(job)


def test_another_plan_begins_anew_where_no_block_is_lost(job):
    run_job(job, stop_after(0))
    assert job.target.folder.exists()
    assert run_job(SquaresJob(job.out, power=3)) == expected(3).sum()


def test_an_output_that_is_there_is_kept_unless_it_is_to_be_replaced(job):
    job.out.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        run_job(job)
    assert job.out.read_text() == "mine"
    assert not beside(job)
    job.overwrite = True
    assert run_job(job, stop_after(1)) is None
    assert job.out.read_text() == "mine"
    run_job(job)
    np.testing.assert_array_equal(np.load(job.out), expected())
    assert not beside(job)


def test_an_output_that_comes_meanwhile_is_kept(job):
    def appear(event, _):
        if event is not None:
            job.out.write_text("another's")

    with pytest.raises(OutputError, match="exists already"):
        run_job(job, Hooks(appear))
    assert job.out.read_text() == "another's"
    job.out.unlink()
    assert run_job(job) == expected().sum()
    assert sorted(job.computed()) == BLOCKS


def test_what_a_kill_between_publishing_and_cleaning_left_does_not_refuse(job, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("unet_batch.engine.partial_folder.PartialFolder.discard", lambda _: None)
        run_job(job)
    assert beside(job) == {"out.npy.partial"}
    tried, messages = job.computed(), []
    assert run_job(job, Hooks(lambda _, p: messages.append(p.message))) == expected().sum()
    assert job.computed() == tried
    assert not beside(job)
    assert messages == ["nothing to do: every block is in the store"]


def test_and_another_plan_then_meets_the_output_alone(job, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("unet_batch.engine.partial_folder.PartialFolder.discard", lambda _: None)
        run_job(job)
    with pytest.raises(OutputError, match="exists already"):
        run_job(SquaresJob(job.out, power=3))
    assert not beside(job)
    np.testing.assert_array_equal(np.load(job.out), expected())


def test_with_overwrite_too_what_another_program_wrote_meanwhile_is_kept(job):
    job.out.write_text("old")
    job.overwrite = True

    def appear(event, _):
        if event is not None:
            job.out.write_text("another's")

    with pytest.raises(OutputError, match="another program wrote it during this run"):
        run_job(job, Hooks(appear))
    assert job.out.read_text() == "another's"
    assert run_job(job) == expected().sum()
    assert sorted(job.computed()) == BLOCKS
    assert not beside(job)


@pytest.mark.parametrize("left", ["", "ledger", "ledger/lock"])
def test_a_bare_folder_beside_the_output_goes(job, left):
    job.out.write_text("mine")
    place = job.target.folder / left
    place.parent.mkdir(parents=True, exist_ok=True)
    if left.endswith("lock"):
        place.touch()
    else:
        place.mkdir()
    with pytest.raises(OutputError, match="exists already"):
        run_job(job)
    assert not beside(job)


def test_leftovers_of_killed_writers_are_swept(job):
    run_job(job, stop_after(1))
    folder = job.target.folder
    left = [folder / ".plan.json.7.0123456789ab.partial", folder / f"plan.json.{'0f' * 16}.partial"]
    left += [folder / "ledger" / name for name in (left[0].name, "now.json")]
    for path in left:
        path.write_text("torn")
    run_job(job, stop_after(1))
    assert not any(path.exists() for path in left)


def test_what_is_left_beside_the_output_or_in_other_ledgers_is_swept(job):
    job.twice = True
    run_job(job, stop_after(6))
    mine = job.out.with_name(f".{job.out.name}.7.0123456789ab.partial")
    left = [mine, job.target.folder / "again" / "ledger" / "now.json"]
    left.append(left[1].with_name("status") / f"zarr.{'0f' * 16}.partial")
    others = job.out.with_name(".another.npy.7.0123456789ab.partial")
    for path in [*left, others]:
        path.write_text("torn")
    run_job(job, stop_after(1))
    assert not any(path.exists() for path in left)
    assert others.exists()


def test_one_driver_at_a_time(job):
    run_job(job, stop_after(1))
    with Ledger.open(job.target.folder, writable=True), pytest.raises(StoreBusyError, match="process"):
        run_job(job)
    seen = []

    def second(event, _):
        if event is not None:
            with pytest.raises(StoreBusyError, match="process"):
                run_job(SquaresJob(job.out, overwrite=True, power=3))
            seen.append(event)

    assert run_job(job, Hooks(second)) == expected().sum()
    assert seen


def test_an_error_before_the_first_block_leaves_nothing(job, monkeypatch):
    for stage in ("plan", "create", "passes", "workers"):
        with monkeypatch.context() as patch:

            def fail(*_):
                raise InputError("no")

            patch.setattr(SquaresJob, stage, fail)
            with pytest.raises(InputError):
                run_job(job)
        assert not beside(job), stage


def test_what_is_not_its_own_is_never_removed(job):
    folder = job.target.folder
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"letter\.txt"):
        run_job(job)
    assert (folder / "letter.txt").read_text() == "mine"


def test_blocks_whose_plan_is_lost_are_never_removed(job):
    run_job(job, stop_after(2))
    (job.target.folder / "plan.json").unlink()
    shutil.rmtree(job.target.folder / "found")
    with pytest.raises(DamageError, match="plan is missing"):
        run_job(job)
    assert Ledger.open(job.target.folder).totals().pixels == 12


def test_a_damaged_plan_is_told_of(job):
    run_job(job, stop_after(2))
    (job.target.folder / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan\.json: cannot be read; remove"):
        run_job(job)


def test_failed_blocks_are_named_and_tried_again_by_the_next_run(job):
    job.failing = frozenset({4})
    with pytest.raises(DamageError, match=r"1 blocks failed \(.*poison"):
        run_job(job)
    assert not job.out.exists()
    job.failing = frozenset()
    assert run_job(job) == expected().sum()
    assert sorted(job.computed()) == sorted([*BLOCKS, 4, 4, 4, 4])


def path_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def test_a_block_is_on_the_disk_before_it_counts_and_the_journal_after_it(job, monkeypatch):
    synced, told = [], []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(path_of(number)))
    run_job(job, Hooks(lambda event, _: event and told.append([*synced])))
    found = job.target.folder / "found" / "0"
    for number, before in zip(BLOCKS, told, strict=True):
        piece = before.index(str(found / f"{number}.npz"))
        folder = piece + before[piece:].index(str(found))
        assert str(job.target.folder / "ledger/journal.jsonl") in before[folder:]
    synced.clear()
    job.out.unlink()
    job.config = ExecutionConfig(durability="none")
    run_job(job)
    assert not any("/found" in path or path.endswith("/journal.jsonl") for path in synced)


def test_where_syncing_is_slow_many_blocks_are_synced_at_once(job, monkeypatch):
    synced, told = [], []
    monkeypatch.setattr("unet_batch.engine.passes.SYNC_CREDIT", -1e9)
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((path_of(number), len(told))))
    assert run_job(job, Hooks(lambda event, _: event and told.append(event))) == expected().sum()
    assert len(told) == len(BLOCKS)
    assert {count for path, count in synced if path.endswith("found/0")} == {0}


def test_blocks_whose_output_is_gone_are_done_again(job):
    run_job(job, stop_after(3))
    lost = job.computed()[0]
    (job.target.folder / "found" / "0" / f"{lost}.npz").unlink()
    messages = []
    assert run_job(job, Hooks(lambda _, p: messages.append(p.message))) == expected().sum()
    assert job.computed().count(lost) == 2
    assert "1 blocks of an earlier run are gone: they are done again" in messages


def test_plans_are_compared_as_json(job):
    run_job(job, stop_after(1))
    stored = json.loads((job.target.folder / "plan.json").read_text())
    assert stored == SquaresPlan().model_dump(mode="json")


@pytest.mark.parametrize("how", ["serial", "threads", "dask"])
def test_every_executor_climbs_the_same_ladder(job, how):
    threads, processes = (3 if how == "threads" else None), (2 if how == "dask" else 0)
    job.workers_wanted = Workers(ExecutionConfig(), processes, threads_here=threads)
    job.failing = frozenset({1})
    with pytest.raises(DamageError, match="poison"):
        run_job(job)
    assert job.computed().count(1) == 1 + 3  # the law: three more tries
    assert sorted(set(job.computed())) == BLOCKS
    assert all(job.computed().count(block) == 1 for block in BLOCKS if block != 1)
    job.failing = frozenset()
    assert run_job(job) == expected().sum()
