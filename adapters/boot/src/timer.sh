set -u
# Until the runner starts.
umask 077
[ -n "${HOME:-}" ] || { unset HOME && HOME=~; }
export HOME PATH="${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}:/usr/local/bin"
started=$HOME/tinqs-ci/.started
# The user of the job: by default that of this script.
user='' as=()

# since_boot: sets `up` to the seconds since the machine booted: on a process machine, since this
# script started.
printf -v began '%(%s)T' -1
since_boot() {
  local now
  if [ -z "${TINQS_CI_MACHINE:-}" ] && read -r up _ 2>/dev/null </proc/uptime; then return; fi
  printf -v now '%(%s)T' -1
  up=$((now - began))
}

# say: writes a line to the console. Each step says one, so that the last one tells where a boot hangs:
# before what may hang, or after it where a time limit ends it.
say() {
  local up
  since_boot
  printf 'tinqs-ci: +%ss %s\n' "$up" "$*" >&2
}

# fail [WHY]: says why, and ends the machine by the trap that powers off.
fail() {
  say "${1:-the files of the runner cannot be written in $HOME}: powering off"
  exit 1
}

# signal_all SIGNAL VARIABLE=VALUE [SPARED]: signals every process that was started with this
# variable, except the caller. Fails if there is none. (The runner starts steps in process groups of
# their own, so a process group is not the machine.) With SPARED: all but that process, and the
# groups that they lead, whose members may have other variables.
signal_all() {
  local dir pid entry found=1
  local -a environment
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    case $pid in "$BASHPID" | "${3:-}") continue ;; esac
    environment=()
    { mapfile -d '' -t environment <"$dir/environ"; } 2>/dev/null
    for entry in "${environment[@]}"; do
      [ "$entry" = "$2" ] || continue
      kill -s "$1" "$pid" ${3:+"-$pid"} 2>/dev/null && found=0
      break
    done
  done
  return "$found"
}

power_off() {
  trap - EXIT
  # A process machine; without this file, the host ended it.
  if [ -n "${TINQS_CI_MACHINE:-}" ]; then
    trap '' HUP INT TERM
    { : >"$HOME/.tinqs-ci-powered-off"; } 2>/dev/null
    local all=TINQS_CI_MACHINE=$TINQS_CI_MACHINE
    signal_all TERM "$all"
    for _ in {1..20}; do
      signal_all 0 "$all" || exit 0
      sleep 0.1
    done
    for _ in {1..100}; do
      signal_all KILL "$all" || exit 0
      sleep 0.1
    done
    exit 1
  fi
  # The power-off signals this script, too: that is nothing to tell.
  trap - HUP INT TERM
  systemctl poweroff || shutdown -h now || poweroff
  sleep 60
  systemctl poweroff --force --force || poweroff -f
  exit 1
}

# cloud-init runs this script again where an image's own unit ran it already: the second copy ends, and
# leaves the machine to the first.
if [ -z "${TINQS_CI_MACHINE:-}" ] && ! mkdir /run/tinqs-ci 2>/dev/null && [ -d /run/tinqs-ci ]; then
  say 'this script runs already: nothing to do'
  exit 0
fi
say 'the boot script began'

# monotonic: sets `ran` to the seconds since the kernel started.
monotonic() {
  if read -r ran _ 2>/dev/null </proc/uptime; then ran=${ran%%.*}; else printf -v ran '%(%s)T' -1; fi
}
monotonic
ran_at_start=$ran settles_after=60 settled=

# guest_now: sets `now`, the time for deadline, start_by and drain_by. The clock is set while the machine
# boots. After the first minute time goes on by the smaller progress of clock and uptime: a clock
# that is set ahead later ends no job.
guest_now() {
  local ran clock
  monotonic
  printf -v clock '%(%s)T' -1
  now=$clock
  if [ -n "$settled" ]; then
    [ "$((clock - settled))" -le "$((ran - settled_ran))" ] || now=$((settled + ran - settled_ran))
  elif [ "$((ran - ran_at_start))" -ge "$settles_after" ]; then
    settled=$clock settled_ran=$ran
  fi
}

# The deadline comes first.
seconds_left() {
  local now
  guest_now
  left=$((deadline - now))
  [ "$left" -gt 0 ]
}

# never_started: no runner was started in time, because something before it hangs.
never_started() {
  local now
  guest_now
  [ "$now" -gt "$((start_by + 5))" ] && [ ! -e "$started" ]
}
rm -f "$started"
seconds_left || {
  say 'the deadline is past: powering off'
  power_off
}
(
  while seconds_left; do
    if never_started; then
      say 'no runner was started in time: powering off'
      power_off
    fi
    sleep "$((left < 5 ? left : 5))"
  done
  say 'the deadline is reached: powering off'
  power_off
) &
trap power_off EXIT
# On a process machine, `power_off` itself signals this script.
trap '[ -e "$HOME/.tinqs-ci-powered-off" ] && exit 1; fail "a signal ended this script"' HUP INT TERM

# The runner's identity, valid for one job, and its configuration.
{ mkdir -p "$HOME/tinqs-ci" && cd "$HOME/tinqs-ci"; } || fail
