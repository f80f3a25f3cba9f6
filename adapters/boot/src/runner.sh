# use: takes this runner, unless `version` is one that reports a job's result before the end of its log.
use() {
  if [[ $version =~ v?([0-9]+)\.([0-9]+)\.([0-9]+) ]] &&
    ((BASH_REMATCH[1] == 0 && BASH_REMATCH[2] * 1000 + BASH_REMATCH[3] < 3001)); then
    why="act_runner ${BASH_REMATCH[0]} is too old"
    return 1
  fi
  runner=$1 version=${BASH_REMATCH[0]:-}
}
version=
if found=$(PATH=$path && { type -P gitea-runner || type -P act_runner; }); then
  say "found $found"
  [ "${found##*/}" = gitea-runner ] || version=$("$found" --version 2>/dev/null)
  use "$found"
else
  why="neither gitea-runner nor act_runner is in PATH ($path)"
  false
fi || fetch || exit 1
if [ "${#as[@]}" -gt 0 ]; then
  chown -R "$uid:$gid" . || fail
  [ ! -e "$HOME/.gitconfig" ] || chown "$uid:$gid" "$HOME/.gitconfig" || fail
fi
# All secrets are written; a job's files are readable for others, as after a login.
umask 022

# Drains once: a busy runner finishes its job first, an idle one exits, and none starts afterwards.
drain_by=
drained=
runner_pid=
# When the cloud takes the machine, once that is announced, and whether the job was ended for it.
taken_at=
cut=
drain_when_due() {
  local now
  [ -n "$taken_at" ] || take_notice
  guest_now
  if [ -z "$drained" ] && { [ -n "$taken_at" ] || [ "$now" -ge "$drain_by" ]; }; then
    drained=1
    if [ -n "$runner_pid" ] && kill -s TERM "$runner_pid" 2>/dev/null && [ -z "$taken_at" ]; then
      say "$idle_within s after its start: the runner takes no new job"
    fi
  fi
  # `tick` runs this again within 5 s.
  if [ -n "$taken_at" ] && [ -n "$runner_pid" ] && [ -z "$cut" ] && [ "$now" -ge "$((taken_at - 25))" ]; then
    end_job
  fi
}
trap drain_when_due USR1
idle=${idle_within%.*}
[ "$idle" = "$idle_within" ] || idle=$((idle + 1))
# tick: every 5 s, and exactly at the end of the idle time. Once it is killed, the machine ends.
tick() {
  local left=$idle
  while sleep "$((left > 0 && left < 5 ? left : 5))"; do
    left=$((left - 5))
    kill -s USR1 "$$" || return
  done
}

# The runner ends with 0 after its job, whatever the job's result, and with another status if its first
# call failed or Docker is not up: then it starts again. The forge gives it one job at most.
while :; do
  guest_now
  if [ "$now" -gt "$start_by" ]; then
    say 'it is too late to start a runner: powering off'
    exit 0
  fi
  if [ -z "$drain_by" ]; then
    : >"$started"
    drain_by=$((now + idle))
    tick &
  fi
  say "starting ${runner##*/}${version:+ $version}"
  "${start[@]}" "PATH=$path" "HOME=$HOME" "USER=$user" "LOGNAME=$user" "TINQS_CI_JOB=$$" \
    ${hold_file:+"TINQS_CI_HOLD=$hold_file"} "${runner##*/}" daemon --config config.yaml &
  runner_pid=$!
  [ -z "$drained" ] || kill -s TERM "$runner_pid"
  # 138: interrupted by USR1, the runner may still be alive.
  until
    wait "$runner_pid"
    status=$?
    [ "$status" -ne 138 ]
  do :; done
  runner_pid=
  if [ "$status" -eq 0 ] || [ -n "$drained" ]; then break; fi
  say "the runner ended with status $status before it took a job: it starts again in 3 s"
  sleep 3
  drain_when_due
  [ -z "$drained" ] || break
done
if [ -n "$cut" ]; then
  # The cloud is to end the machine: then its state reason tells why the job failed.
  say "the runner ended with status $status: waiting for the cloud"
  sleep 60
fi
hold_machine
say "the runner ended with status $status: powering off"
exit 0
