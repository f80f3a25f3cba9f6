# A job that touched this file keeps its machine for a person. Nothing of the job goes on.
hold_file=$PWD/hold
rm -f "$hold_file"
hold_machine() {
  [ -e "$hold_file" ] || return
  for _ in {1..20}; do
    kill_job none || break
    sleep 0.1
  done
  [ "${#as[@]}" -eq 0 ] || pkill -KILL -u "$uid"
  say "the job asked for it: the machine stays for $hold s, or until $hold_file is removed"
  while [ "$hold" -gt 0 ] && [ -e "$hold_file" ]; do
    sleep 5
    hold=$((hold - 5))
  done
}

