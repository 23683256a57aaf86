# shellcheck shell=bash
# What the sbatch files share: settings, signals, and going back into the queue. Read by them, never run.
#
# `unet-batch submit` sets what it knows; by hand, everything has a default:
#   UNET_BATCH_FOLDER     folder of this job, seen by all nodes     UNET_BATCH_SITE       site.env
#   UNET_BATCH_FILES      where these files are                     UNET_BATCH_SETTINGS   configs/cluster/*.yaml
#   UNET_BATCH_PYTHON     interpreter on the nodes                  UNET_BATCH_CONTAINER  its prefix, a word a line
#   UNET_BATCH_REQUEUES   how often a job queues itself again       UNET_BATCH_WARN       seconds of warning

set -u

me=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
me=${me:-$SLURM_JOB_ID}
restart=${SLURM_RESTART_COUNT:-0}
folder=${UNET_BATCH_FOLDER:-$SLURM_SUBMIT_DIR/unet-batch-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}
(umask 077 && mkdir -p "$folder")

site=${UNET_BATCH_SITE:-${UNET_BATCH_FILES:-$SLURM_SUBMIT_DIR/slurm}/site.env}
if [[ -r $site ]]; then
  # shellcheck source=slurm/site.env
  source "$site"
fi

prefix=()
if [[ -n ${UNET_BATCH_CONTAINER:-} ]]; then
  mapfile -t prefix <<<"$UNET_BATCH_CONTAINER"
fi
python=("${prefix[@]}" "${UNET_BATCH_PYTHON:-python3}")
# shellcheck disable=SC2034 # for those that read this file
program=("${python[@]}" -m unet_batch)

pool=() # settings of scheduler and workers
if [[ -n ${UNET_BATCH_SETTINGS:-} ]]; then
  pool+=(--cluster "$UNET_BATCH_SETTINGS")
fi
if [[ -n ${UNET_BATCH_INTERFACE:-} ]]; then
  pool+=(--set "interface=$UNET_BATCH_INTERFACE")
fi

# srun does not take this over from sbatch by itself (since SLURM 22.05).
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# As many threads as CPUs, but two at least: one alone rounds differently (see docs/ARCHITECTURE.md).
export OMP_NUM_THREADS=${UNET_BATCH_THREADS:-$((SRUN_CPUS_PER_TASK > 2 ? SRUN_CPUS_PER_TASK : 2))}

say() {
  echo "$(date +%FT%T) job $me, start $restart: $*"
}

# Signals: USR1 comes ahead of the time limit, TERM with a pre-emption or scancel. Either is passed on to the main
# process as TERM, once; it ends what is under way and exits with 75. It has until shortly before the limit.
main='' stopping='' watchdog=''
pass_on() {
  kill -TERM "$main" 2>/dev/null
}
ask_to_stop() {
  say "$1 has come"
  if [[ -z $stopping && -n $main ]]; then
    pass_on
    (sleep $((${UNET_BATCH_WARN:-120} * 3 / 4)) && kill -KILL "$main") &>/dev/null &
    watchdog=$!
  fi
  stopping=$1
}
trap 'ask_to_stop USR1' USR1
trap 'ask_to_stop TERM' TERM

# The exit code of process $1, waited for through all signals.
await() {
  local code
  while true; do
    wait "$1"
    code=$?
    if ((code <= 128)) || ! kill -0 "$1" 2>/dev/null; then
      return "$code"
    fi
  done
}

# Runs the words as main process; a signal that came before ends it before it begins.
run_main() {
  if [[ -n $stopping ]]; then
    return 75
  fi
  "$@" &
  main=$!
  if [[ -n $stopping ]]; then # it came between the two lines above
    pass_on
  fi
  await "$main"
  local code=$?
  main=''
  if [[ -n $watchdog ]]; then
    kill "$watchdog" 2>/dev/null
  fi
  return "$code"
}

state_of() {
  scontrol show job "$1" 2>/dev/null | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1
}

# Whether SLURM has begun this job anew elsewhere, because it lost sight of this node; then this start must not speak
# for the job any more.
is_superseded() {
  local now
  now=$(scontrol show job "$me" 2>/dev/null | sed -n 's/.* Restarts=\([0-9]*\) .*/\1/p' | head -n 1)
  [[ -n $now && $now != "$restart" ]]
}

# Whether another job takes the place of this one: its steps are told some seconds before this shell.
is_preempted() {
  scontrol show job "$me" 2>/dev/null | grep -q ' PreemptTime=[0-9]'
}

# What is left behind where a job ends for good: $ends, which a driver's file sets, says with which exit code.
ends=''
on_end() { :; }
end_with() {
  if [[ -n $ends ]]; then
    echo "$1" >"$ends"
  fi
  on_end
}

# Ends this start of the job. 75, or death by a signal, means: again; $2 may be requeuehold. Only a job that still runs
# may ask for that: one that was cancelled must not come back, and one that was pre-empted is in the queue already.
finish() {
  local code=$1 how=${2:-requeue} limit=${UNET_BATCH_REQUEUES:-50} state
  if is_superseded; then
    say "ends, as SLURM has begun the job anew"
    exit 75
  fi
  if ((code != 75 && code < 128)); then
    end_with "$code"
    if ((code != 0)) && [[ -n ${UNET_BATCH_GO_ON:-} ]]; then
      say "failed with exit code $code; once mended, go on with: $UNET_BATCH_GO_ON"
    fi
    exit "$code"
  fi
  state=$(state_of "$me")
  if [[ $state == CANCELLED || $state == TIMEOUT ]]; then
    say "ends, as it is $state"
    end_with "$state"
  elif [[ $state != RUNNING ]]; then
    say "ends for now, as it is $state"
  elif ((restart >= limit)); then
    say "has started $((restart + 1)) times, which is the limit; submit it again to go on"
    end_with "$code"
  elif scontrol "$how" "$me"; then
    say "is queued again to go on"
    exit 0
  else
    say "may not queue itself again here; submit it again to go on"
    end_with "$code"
  fi
  exit 75
}
