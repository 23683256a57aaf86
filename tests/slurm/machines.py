"""A real SLURM on this machine: munged, slurmctld and one slurmd a node, each node with its own host name.

Runs as root, in the foreground of this process: the daemons end with it, whatever happens. Partitions:
``main``, ``preempt`` (requeued with five seconds of grace) and ``urgent`` (pre-empts the former). GPUs are
device files without a device behind them: SLURM counts and hands them out, nobody computes on them.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "unshare", "setpriv")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START, END = 300.0, 60.0  # seconds; they only matter where something is wrong
PORTS = (30_000, 32_700)  # between those that trainings meet at and those that the system gives away

# Its arguments: host name, hosts file, command. A node is a UTS and a mount namespace.
AS_NODE = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'

CONF = """\
ClusterName=test
SlurmctldHost=slurmctl(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
# A job that is queued again waits for its old credential to expire: two minutes unless it is told otherwise.
AuthInfo=socket={folder}/munge.sock,cred_expire={cred_expire}
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdTimeout={slurmd_timeout}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=3600
ReturnToService=2
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=5 PreemptMode=OFF
PartitionName=preempt Nodes=ALL State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
PartitionName=urgent Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Why no cluster can be brought up here; empty where it can."""
    if absent := [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]:
        return f"SLURM is not installed ({', '.join(absent)}): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "bringing up SLURM needs root"


@dataclass
class Machines:
    """A cluster whose files lie in ``folder`` (at most 70 characters: sockets have short names)."""

    folder: Path
    nodes: int = 2
    cpus: int = 8
    gpus: int = 2
    slurmd_timeout: int = 30
    cred_expire: int = 10
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SLURM's programs find this cluster and no other."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        return {**kept, "PATH": SEARCH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Bring everything up; raises where the nodes do not come up in time."""
        assert len(str(self.folder)) <= 70, self.folder
        self._write()
        self.run("mungekey", "-c", "-k", str(self.folder / "munge.key"))
        munge = (f"--{key}={self.folder / name}" for key, name in MUNGE.items())
        self._daemon("munged", ["munged", "--foreground", "--force", *munge])
        self._daemon("slurmctld", self._as("slurmctl", "slurmctld", "-D"))
        for number in range(1, self.nodes + 1):
            self.start_node(f"node{number}")
        self._wait_for_nodes()

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node, also after it was killed."""
        self._daemon(node, self._as(node, "slurmd", "-D", "-N", node))

    def stop(self) -> None:
        """Cancel all jobs and end the daemons; harmless when repeated or where start failed half-way."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", "--user=root", timeout=END)
            self._until(lambda: not self.steps(), END)
        for step in self.steps():
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(step), signal.SIGKILL)
        for name in reversed(self.daemons):  # nodes before their controller, munged last
            self.daemons[name].terminate()
            with suppress(subprocess.TimeoutExpired):
                self.daemons[name].wait(END)
            self.daemons[name].kill()
            self.daemons[name].wait()
        self.daemons.clear()

    def steps(self) -> list[int]:
        """Process ids of slurmstepd, one for each step of a job that lives."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                mine = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
                if (process / "comm").read_text().strip() == "slurmstepd" and mine in (
                    process / "environ"
                ).read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def run(self, *words: str, timeout: float = 120.0) -> str:
        """What one of SLURM's programs prints."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("state", "devices"):
            (self.folder / name).mkdir()
        ports = _free_ports(self.nodes + 1)
        lines = [
            CONF.format(
                folder=self.folder,
                port=ports[0],
                cred_expire=self.cred_expire,
                slurmd_timeout=self.slurmd_timeout,
            )
        ]
        hosts, gres = [Path("/etc/hosts").read_text(), "127.0.0.1 slurmctl"], ["AutoDetect=off"]
        for number, port in enumerate(ports[1:], start=1):
            node = f"node{number}"
            (self.folder / f"spool-{node}").mkdir()
            hosts.append(f"127.0.1.{number} {node}")
            lines.append(
                f"NodeName={node} NodeHostname={node} NodeAddr=127.0.1.{number} Port={port} "
                f"CPUs={self.cpus} RealMemory=8000 Gres=gpu:{self.gpus} State=UNKNOWN"
            )
            for gpu in range(self.gpus):  # the digits at the end of its name become CUDA_VISIBLE_DEVICES
                os.mknod(self.folder / "devices" / f"{node}-gpu{gpu}", 0o20600, os.makedev(1, 3))
            files = f"{self.folder}/devices/{node}-gpu[0-{self.gpus - 1}]"
            gres.append(f"NodeName={node} Name=gpu File={files}")
        (self.folder / "slurm.conf").write_text("\n".join([*sorted(lines, key=_nodes_first), ""]))
        (self.folder / "gres.conf").write_text("\n".join([*gres, ""]))
        (self.folder / "hosts").write_text("\n".join([*hosts, ""]))

    def _as(self, host: str, *command: str) -> list[str]:
        namespaces = ["unshare", "--uts", "--mount", "--propagation", "private"]
        return [*namespaces, "sh", "-c", AS_NODE, host, str(self.folder / "hosts"), *command]

    def _daemon(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def _wait_for_nodes(self) -> None:
        def up() -> bool:
            if any(daemon.poll() is not None for daemon in self.daemons.values()):
                return True
            words = ["sinfo", "--noheader", "--partition=main", "--states=idle", "--Node", "--format=%N"]
            found = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
            return len(found.stdout.split()) == self.nodes

        self._until(up)
        assert up(), self._logs()
        assert all(daemon.poll() is None for daemon in self.daemons.values()), self._logs()

    def _until(self, true, seconds: float = START) -> None:
        limit = time.monotonic() + seconds
        while not true() and time.monotonic() < limit:
            time.sleep(0.1)

    def _logs(self) -> str:
        logs = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        return "\n".join(f"--- {log}\n{log.read_text()[-2000:]}" for log in logs)


MUNGE = {
    "key-file": "munge.key",
    "socket": "munge.sock",
    "pid-file": "munge.pid",
    "log-file": "munge.log",
    "seed-file": "munge.seed",
}


def _nodes_first(line: str) -> bool:
    """Partitions of all nodes come after the nodes."""
    return not line.startswith("NodeName")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at; drawn at random, so that two clusters at once draw others."""
    found: list[int] = []
    for port in random.sample(range(*PORTS), 200):
        with socket.socket() as one, suppress(OSError):
            one.bind(("0.0.0.0", port))
            found.append(port)
        if len(found) == count:
            break
    return found
