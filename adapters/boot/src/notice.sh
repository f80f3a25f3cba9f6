# A Spot machine is told some two minutes before the cloud takes it back; until then the answer is 404.
metadata=http://169.254.169.254/latest
# ask_metadata METHOD PATH HEADER: prints the answer.
ask_metadata() {
  if type -P curl >/dev/null; then
    curl -fs -m 2 --noproxy '*' -X "$1" -H "$3" "$metadata/$2"
  else
    wget -q -O - -T 2 -t 1 --no-proxy --method="$1" --header="$3" "$metadata/$2"
  fi 2>/dev/null
}

# take_notice: sets `taken_at`, when the cloud takes the machine, once that is announced.
take_notice() {
  local token said at clock left=120 now
  token=$(ask_metadata PUT api/token 'X-aws-ec2-metadata-token-ttl-seconds: 60') &&
    said=$(ask_metadata GET meta-data/spot/instance-action "X-aws-ec2-metadata-token: $token") ||
    return
  if [[ $said =~ \"time\"[^\"]*\"([^\"]+)\" ]] && at=$(date -d "${BASH_REMATCH[1]}" +%s 2>/dev/null); then
    printf -v clock '%(%s)T' -1
    left=$((at - clock))
    left=$((left < 0 ? 0 : left > 120 ? 120 : left))
  fi
  guest_now
  taken_at=$((now + left))
  say "the cloud takes this machine back in $left s: the runner takes no new job"
}

# end_job: ends everything of the job until the runner has reported it as failed. No signal makes the
# runner do that: it lets its job finish after the first SIGTERM, and ignores the others.
end_job() {
  say 'the job is ended now, so that the runner can report it'
  cut=1
  for _ in {1..20}; do
    kill -s 0 "$runner_pid" 2>/dev/null || return
    kill_job "$runner_pid"
    sleep 1
  done
}

