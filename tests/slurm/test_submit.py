"""Submitting on a real SLURM: hostile words, refusals, dry runs, chains, logs, and the doctor."""

import json
from pathlib import Path

import pytest

from tests.cli.program import call, settings
from tests.slurm.conftest import FIXED
from tests.worlds import noise
from unet_batch.cluster.slurm.command import Task
from unet_batch.cluster.slurm.config import SlurmConfig
from unet_batch.cluster.slurm.submit import draft, submit

pytestmark = pytest.mark.timeout(1800)  # a crowded machine; each wait has its own limit

HOSTILE = [
    "a b",
    "",
    "$(touch escaped)",
    "`touch escaped`",
    "new\nline",
    "'\"",
    "\\",
    "%j",
    "; touch escaped",
    "ü",
]

SHOW = """\
import json, os, sys
said = [sys.argv[1:], os.environ["UNET_BATCH_CONTAINER"], os.environ["ODD"]]
json.dump(said, open("shown.json", "w"))
"""

STORY = """\
import sys
STEPS = {"ingest": "run", "measure": "run", "report": "run"}
step = sys.argv[sys.argv.index("--only") + 1]
print(step, flush=True)
if step == "measure":
    sys.exit("error: no ruler; bring one")
"""


def test_hostile_words_reach_the_program_unchanged(desk):
    script, odd = desk.folder / "show it.py", desk.folder / "o d%d $(touch escaped)'"
    script.write_text(SHOW)
    task = Task("run", (str(script), *HOSTILE), "a; $(b)", "\n".join(HOSTILE), "story")
    container = ("env", "ODD=$(touch escaped) ;")
    job = submit(draft(task, SlurmConfig(folder=str(odd), container=container))).driver
    assert desk.ended(job) == "COMPLETED", [path.read_text() for path in odd.rglob("*.out")]
    assert json.loads((desk.folder / "shown.json").read_text()) == [
        HOSTILE,
        "\n".join(container),
        container[1][4:],
    ]
    assert not list(desk.folder.rglob("escaped"))
    assert call("jobs", "--folder", odd, "--json").json[0]["state"] == "done"


def story(desk):
    (desk.folder / "story.py").write_text(STORY)
    return desk.folder / "story.py"


def test_a_step_that_fails_ends_the_chain_and_says_how_to_go_on(desk):
    answer = desk.submit("workflow", story(desk), "--depth", "3", "--partition", "main", "--time", "9:00")
    first, second, third = (
        json.loads(text)["job"] for text in answer.out.replace("}\n{", "}\0{").split("\0")
    )
    assert desk.ended(first) == "COMPLETED", desk.logs()
    assert desk.ended(second) == "FAILED"
    assert desk.ended(third) == "CANCELLED"
    told = desk.jobs()
    assert [told[job]["state"] for job in (first, second, third)] == ["done", "failed", "CANCELLED"]
    assert told[second]["reason"] == "error: no ruler; bring one"
    shown = call("jobs", "--folder", "jobs").out
    again = f"unet-batch submit workflow {desk.folder}/story.py --depth 3 --partition=main --time=9:00"
    assert f"{again} --slurm=" in shown
    assert shown.rstrip().count("--from measure") == 1
    assert "go on with: unet-batch submit workflow" in call("logs", second, "--folder", "jobs").out


def test_a_whole_workflow_with_its_prediction(desk):
    script = Path(__file__).parents[2] / "workflows" / "nuclei.py"
    answer = desk.submit("workflow", script, "--out", "out/a b", "--time", "30", json_answer=False)
    assert answer.code == 0, answer
    jobs = sorted(desk.jobs())
    assert len(jobs) == 4
    assert [desk.ended(job) for job in jobs] == ["COMPLETED"] * 4, desk.logs()
    assert (desk.folder / "out" / "a b" / "overlay.png").exists()


def test_ingest_is_a_job_too(desk):
    import numpy as np

    np.save(desk.folder / "a b.npy", noise((50, 60)))
    job = desk.job("ingest", "a b.npy", "new.zarr", "--tasks", "4", "--slurm", "gpus_per_task=1")
    assert desk.ended(job) == "COMPLETED", desk.logs()
    assert "50 x 60 px" in desk.logs()
    assert desk.jobs()[job]["comment"] == "unet-batch ingest a b.npy -> new.zarr"


def test_products_are_jobs_too(desk, world):
    (desk.folder / "masks.zarr").symlink_to(world / "whole.zarr")
    jobs = [
        desk.job("products", "stats", "masks.zarr", "areas.csv"),
        desk.job("products", "export", "masks.zarr", "masks.tif"),
        desk.job("objects", "masks.zarr", "objects.parquet"),
        desk.job("report", "masks.zarr", "report.html"),
    ]
    assert [desk.ended(job) for job in jobs] == ["COMPLETED"] * 4, desk.logs()
    assert all((desk.folder / name).exists() for name in ("areas.csv", "masks.tif", "objects.parquet"))
    assert "masks" in (desk.folder / "report.html").read_text()
    missing = desk.submit("products", "stats", "masks.zarr", json_answer=False)
    assert (missing.code, "Missing argument 'TABLE'" in missing.err) == (2, True)
    assert "Usage: unet-batch stats" in missing.err


def test_a_store_has_one_job_at_a_time(desk):
    words = ("predict", "image.zarr", "out.zarr", "--model", "net.safetensors", *settings(*FIXED))
    first = desk.job(*words, "--tasks", "1", "--slurm", "extra=[--hold]")
    assert desk.submit(*words).refusal == (
        f"out.zarr: job {first} writes it; wait for it with --after {first}, or end it with "
        f"`unet-batch cancel {first}`"
    )
    assert len(list((desk.folder / "jobs").glob("predict-*"))) == 1
    second = desk.job(*words, "--tasks", "1", "--after", str(first))
    shown = call("jobs", "--folder", "jobs").out
    assert f"scontrol release {first}" in shown
    for job in (second, first):
        assert call("cancel", job, "--folder", "jobs").code == 0
        desk.ended(job)
    assert "neither runs nor waits" in call("cancel", first, "--folder", "jobs").refusal
    assert "neither runs nor waits" in call("cancel", "987654", "--folder", "jobs").refusal


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            ("--partition", "nope"),
            "invalid partition specified: nope; Batch job submission failed: Invalid partition",
        ),
        (("--slurm", "gres=tpu:1"), "this comes from `gres: tpu:1`"),
        (("--memory", "900G"), "this comes from `memory: 900G`"),
        (("--slurm", "extra=[--nosuch]"), "this comes from `extra: --nosuch`"),
    ],
)
def test_what_slurm_refuses_comes_back_in_its_words(desk, option, said):
    answer = desk.submit("predict", "image.zarr", "out.zarr", "--model", "net.safetensors", *option)
    assert said in answer.refusal
    assert answer.refusal.endswith("in the command line")
    assert not list((desk.folder / "jobs").glob("predict-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "no.zarr", "out", "--model", "net.safetensors"), "no.zarr"),
        (("predict", "image.zarr", "out", "--model", "no.safetensors"), "no.safetensors"),
        (
            ("predict", "image.zarr", "out", "--model", "net.safetensors", "--set", "tilt=3"),
            "did you mean `tile`?",
        ),
        (
            ("predict-many", "nowhere", "--out-dir", "out", "--model", "net.safetensors"),
            "nowhere: no such image",
        ),
        (("workflow", "no.py"), "no.py: no such workflow"),
        (("ingest", "a", "b", "--cluster", "no.yaml"), "no.yaml: no such file"),
        (("ingest", "a", "b", "--time", "soon"), "'soon' is no time"),
        (("ingest", "a", "b", "--nodes", "two"), "`nodes`"),
    ],
)
def test_a_job_that_could_not_work_is_refused_before_it_waits(desk, words, said):
    assert said in desk.submit(*words).refusal
    assert not (desk.folder / "jobs").exists()


def test_a_dry_run_prints_the_line_that_submits(desk):
    answer = desk.submit(
        "predict", "image.zarr", "out.zarr", "--model", "net.safetensors", *settings(*FIXED), "--dry-run",
        "--elastic", "3", json_answer=False,
    )  # fmt: skip
    driver, workers, files, folder = answer.out.splitlines()
    assert " sbatch --parsable " in driver
    assert driver.endswith(
        "predict.sbatch image.zarr out.zarr --model net.safetensors " + " ".join(settings(*FIXED))
    )
    assert "--dependency=after:DRIVER" in workers
    assert "predict.sbatch" in files
    assert "settings.yaml" in folder
    assert not (desk.folder / "jobs").exists()


def test_the_doctor_finds_a_sound_cluster_sound_and_a_wrong_setting_wrong(desk):
    sound = call("cluster", "doctor", "--slurm", f"folder={desk.folder}/jobs", "--json")
    assert [(f["what"], f["verdict"]) for f in sound.json if f["verdict"] != "pass"] == [], sound.out
    names = {finding["what"] for finding in sound.json}
    assert {"shared folder", "file locks", "clocks", "network", "torch", "all-reduce (gloo)"} <= names
    wrong = call(
        "cluster",
        "doctor",
        "--slurm",
        f"folder={desk.folder}/jobs",
        "--slurm",
        "qos=q",
        "--slurm",
        "partition=p",
    )
    assert wrong.code == 3
    assert "fail  partitions" in wrong.out
    assert "cure: set `partition`" in wrong.out


def test_without_slurm_it_is_one_line(desk, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for words in (("jobs", "--folder", "x"), ("cancel", "1", "--folder", "x")):
        assert "run this on a login node of a SLURM cluster" in call(*words).refusal
    assert "not a job's number" in call("cancel", "x; rm", "--folder", "x").refusal
