cat >config.yaml <<END || exit 1
log:
  level: info
runner:
  file: .runner
  capacity: 1
  timeout: ${left}s
  shutdown_timeout: ${left}s
END

runner=$(PATH=$path && { type -P gitea-runner || type -P act_runner; }) || {
  say "neither gitea-runner nor act_runner is in PATH ($path): install one where machines boot"
  exit 1
}
# All secrets are written; a job's files are readable for others, as after a login.
umask 022
"${start[@]}" "PATH=$path" "HOME=$HOME" "USER=$user" "LOGNAME=$user" \
  "${runner##*/}" daemon --config config.yaml &
runner_pid=$!

# Once: a busy runner finishes its job first, an idle one exits.
(
  sleep "$idle_within"
  say "$idle_within s after its start: the runner takes no new job"
  kill -s TERM "$runner_pid" 2>/dev/null
) &

wait "$runner_pid"
say "the runner ended with status $?: powering off"
exit 0
