"""Settings into words for SLURM, and its answers back: no cluster needed, no shell anywhere."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_batch.cluster.slurm.command import OPTIONS, Task, plain_name, submissions
from unet_batch.cluster.slurm.config import Resources, SlurmConfig, seconds_of
from unet_batch.cluster.slurm.folder import NAMES, copy_files, sbatch_files
from unet_batch.cluster.slurm.programs import RefusalError, environment, explained
from unet_batch.cluster.slurm.submit import chain, steps_of
from unet_batch.config import load, validate
from unet_batch.errors import ConfigError, FormatError, InputError, MissingError

FILES = Path("/files")
HOSTILE = st.text(
    st.one_of(
        st.sampled_from(list("$`;|&<>(){}[]'\"\\ \n\t*?!#~%=-")), st.characters(exclude_characters="\0")
    ),
    min_size=1,
)


def calls(task, folder="/jobs/one", **settings):
    return submissions(task, SlurmConfig(**settings), Path(folder), FILES)


def predict(*words, name="predict-out", comment="unet-batch predict"):
    return Task("predict", words, name, comment, "predict")


@given(st.lists(HOSTILE, max_size=5), HOSTILE, HOSTILE, HOSTILE)
def test_hostile_words_arrive_as_they_are_and_nowhere_else(words, name, comment, folder):
    (call,) = calls(predict(*words, name=name, comment=comment), folder=f"/jobs/{folder}", tasks=2)
    script = call.words.index("/files/predict.sbatch")
    assert list(call.words[script + 1 :]) == words
    assert all(word.startswith("--") for word in call.words[1:script])
    ours = dict(word.partition("=")[::2] for word in call.words[1:script])
    assert set(ours["--job-name"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert ours["--comment"].isprintable()
    assert ours["--output"] == str(Path(f"/jobs/{folder}")).replace("%", "%%") + "/job.out"
    assert ours["--ntasks"] == "2"


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("partition", "account", "qos", "gres"), HOSTILE)))
def test_a_setting_is_one_word_or_refused(values):
    if not all(value.isprintable() and value.strip() for value in values.values()):
        with pytest.raises(ConfigError, match=r"\A.+\Z"):
            validate(SlurmConfig, values, where="x.yaml")
        return
    config = validate(SlurmConfig, values, where="x.yaml")
    (call,) = submissions(predict("in", "out"), config, Path("/jobs/one"), FILES)
    assert {f"{OPTIONS[key]}={value}" for key, value in values.items()} <= {*call.words}


def test_every_resource_has_its_option():
    assert {*OPTIONS, "extra"} == {*Resources.model_fields}


def test_elastic_workers_are_an_array_that_waits_for_its_driver():
    driver, workers = calls(
        predict("in", "out"),
        workers="elastic",
        array=8,
        throttle=3,
        partition="gpu,cheap",
        gpus_per_task=1,
        tasks=64,
        driver={"partition": "cpu", "tasks": 1},
        extra=["--exclusive"],
    )
    assert {"--partition=cpu", "--ntasks=1"} <= {*driver.words}
    assert not [word for word in driver.words if "gpus" in word or "array" in word]
    assert {"--array=0-7%3", "--partition=gpu,cheap", "--gpus-per-task=1", "--ntasks=1"} <= {*workers.words}
    assert "--exclusive" in workers.words
    assert "--dependency=after:12" in workers.call("12")
    assert not [word for word in driver.call("12") if "dependency" in word]


def test_a_step_has_resources_of_its_own_and_no_more_than_it_can_use():
    settings = {"tasks": 8, "gpus_per_task": 1, "partition": "gpu", "cpus_per_task": 4}
    ingest = Task("run", ("ingest", "a", "b"), "n", "c", "ingest")
    (call,) = calls(ingest, **settings, steps={"ingest": {"partition": "cpu", "cpus_per_task": 16}})
    assert {"--partition=cpu", "--cpus-per-task=16"} <= {*call.words}
    assert not [word for word in call.words if word.startswith(("--gpus", "--ntasks"))]
    assert call.environment["UNET_BATCH_THREADS"] == "16"


def test_extra_words_come_behind_all_others():
    (call,) = calls(predict("in", "out"), time="60", extra=["--time=10", "--exclusive"])
    assert call.words.index("--time=60") < call.words.index("--time=10")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("1:30:00", 5400),
        ("2-0", 172800),
        ("1-01:01:01", 90061),
        ("UNLIMITED", None),
    ],
)
def test_times(time, seconds):
    assert seconds_of(time) == seconds


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("time: 1:30:00", "a time needs quotes in YAML"),
        ("time: soon", "no time"),
        ("time: '1'", "leaves no time for work"),
        ("memory: 64 GB", "no memory; write e.g. 16G"),
        ("{memory: 1G, memory_per_cpu: 1G}", "exclude each other"),
        ("partitoin: gpu", "did you mean `partition`?"),
        ("extra: [exclusive]", "is no directive"),
        ('partition: "a\\nb"', "control characters"),
        ("folder: 'a\\b'", "backslash"),
        ("steps: {ingest: {cpus: 4}}", "unknown key `steps.ingest.cpus`"),
        ("port: 70000", "`port`"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(tmp_path, yaml, said):
    file = tmp_path / "c.yaml"
    file.write_text(yaml)
    with pytest.raises(ConfigError) as refusal:
        load(SlurmConfig, file)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "settings", "blamed"),
    [
        ("invalid partition specified: x", {"partition": "x", "nodes": 2}, "`partition: x`"),
        ("Invalid account or account/partition combination specified", {"account": "a"}, "`account: a`"),
        ("Invalid qos specification", {"qos": "q", "partition": "x"}, "`qos: q`"),
        ("Requested node configuration is not available", {"gres": "gpu:9", "qos": "q"}, "`gres: gpu:9`"),
        ("Memory specification can not be satisfied", {"memory": "9T", "tasks": 1}, "`memory: 9T`"),
        ("Invalid --time specification", {"time": "9", "tasks": 1}, "`time: 9`"),
        ("unrecognized option '--nosuch=1'", {"tasks": 1, "extra": ("--nosuch=1",)}, "`extra: --nosuch=1`"),
    ],
)
def test_a_refusal_names_the_setting(words, settings, blamed):
    said = str(explained(RefusalError(words), settings, "c.yaml"))
    assert said == f"SLURM refuses the job: {words}; this comes from {blamed} in c.yaml"


def test_an_enclosing_job_is_not_passed_on(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SLURM_CONF", "/here")
    found = environment({"UNET_BATCH_VERB": "predict"})
    assert "SLURM_CPUS_PER_TASK" not in found
    assert (found["SLURM_CONF"], found["UNET_BATCH_VERB"]) == ("/here", "predict")


@given(st.text())
def test_names_are_plain_and_never_empty(text):
    assert plain_name(text)


def test_a_workflow_names_its_steps(tmp_path):
    script = tmp_path / "story.py"
    script.write_text('STEPS = {"ingest": "run", "predict": "predict"}\nraise SystemExit("never run")\n')
    assert steps_of(script) == {"ingest": "run", "predict": "predict"}
    first, second = chain(script, ("--out", "a b"), again="unet-batch submit workflow story.py")
    assert (first.script, first.words) == ("run", (str(script), "--only", "ingest", "--out", "a b"))
    assert (second.script, second.verb) == ("predict", str(script))
    assert second.words == ("--only", "predict", "--out", "a b")
    assert second.go_on.endswith("story.py --from predict")
    assert [task.step for task in chain(script, (), first="predict")] == ["predict"]
    with pytest.raises(InputError, match="no step 'train'; it has ingest, predict"):
        chain(script, (), first="train")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (None, MissingError, "no such workflow"),
        ("def (", FormatError, "not a Python script"),
        ("x = 1", FormatError, "names no steps"),
        ("STEPS = {'a': 'fly'}", FormatError, "must name each step"),
        ("STEPS = dict(a=1)", FormatError, "must name each step"),
    ],
)
def test_what_is_no_workflow_is_refused(tmp_path, text, error, said):
    script = tmp_path / "story.py"
    if text is not None:
        script.write_text(text)
    with pytest.raises(error, match=said):
        steps_of(script)


def test_a_site_edits_copies_that_are_never_overwritten(tmp_path):
    assert {path.name for path in copy_files(tmp_path)} == {*NAMES}
    (tmp_path / "site.env").write_text("module load cuda\n")
    assert copy_files(tmp_path) == []
    assert sbatch_files(str(tmp_path)) == tmp_path
    (tmp_path / "job.sh").unlink()
    with pytest.raises(
        MissingError, match=r"has no job\.sh; copy them there with `unet-batch cluster files`"
    ):
        sbatch_files(str(tmp_path))


def test_the_sbatch_files_are_sound_shell():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    files = [str(sbatch_files() / name) for name in NAMES]
    root = str(sbatch_files().parent)
    found = subprocess.run(
        ["shellcheck", "-x", *files], cwd=root, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
