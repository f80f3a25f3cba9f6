set -u
umask 077 # until the runner starts
[ -n "${HOME:-}" ] || { unset HOME && HOME=~; }
export HOME PATH="${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}:/usr/local/bin"

# since_boot: sets `up` to the seconds since the machine booted: on a process machine, since this
# script started.
printf -v began '%(%s)T' -1
since_boot() {
  local now
  if [ -z "${TINQS_CI_MACHINE:-}" ] && read -r up _ 2>/dev/null </proc/uptime; then return; fi
  printf -v now '%(%s)T' -1
  up=$((now - began))
}

say() {
  local up
  since_boot
  printf 'tinqs-ci: +%ss %s\n' "$up" "$*" >&2
}

# signal_all SIGNAL: signals every process that carries this machine's marker, except the caller.
# Fails if there is none. (The runner starts steps in process groups of their own, so a process
# group is not the machine.)
signal_all() {
  local dir pid entry found=1
  local -a environment
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    [ "$pid" = "$BASHPID" ] && continue
    environment=()
    { mapfile -d '' -t environment <"$dir/environ"; } 2>/dev/null
    for entry in "${environment[@]}"; do
      [ "$entry" = "TINQS_CI_MACHINE=$TINQS_CI_MACHINE" ] || continue
      kill -s "$1" "$pid" 2>/dev/null && found=0
      break
    done
  done
  return "$found"
}

power_off() {
  trap - EXIT
  if [ -n "${TINQS_CI_MACHINE:-}" ]; then # a process machine
    trap '' HUP INT TERM
    signal_all TERM
    for _ in {1..20}; do
      signal_all 0 || exit 0
      sleep 0.1
    done
    for _ in {1..100}; do
      signal_all KILL || exit 0
      sleep 0.1
    done
    exit 1
  fi
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

# The deadline comes first. It is checked each minute, because clocks are set while booting.
seconds_left() {
  local now
  printf -v now '%(%s)T' -1
  left=$((deadline - now))
  [ "$left" -gt 0 ]
}
seconds_left || {
  say 'the deadline is past: powering off'
  power_off
}
(
  while seconds_left; do sleep "$((left < 60 ? left : 60))"; done
  say 'the deadline is reached: powering off'
  power_off
) &
trap power_off EXIT
trap 'exit 1' HUP INT TERM

# The runner's identity, valid for one job, and its configuration.
mkdir -p "$HOME/tinqs-ci" && cd "$HOME/tinqs-ci" || exit 1
