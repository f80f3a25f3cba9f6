# kill_job SPARED: ends every process of the job, except that one, and its containers unless other
# machines share this host: theirs would end, too. Fails if no process is left.
kill_job() {
  if [ -n "$own_host" ] && type -P docker >/dev/null; then
    timeout 5 docker ps -q --filter name=GITEA-ACTIONS-TASK | timeout 5 xargs -r docker kill
  fi >/dev/null 2>&1
  signal_all KILL "TINQS_CI_JOB=$$" "$1"
}

