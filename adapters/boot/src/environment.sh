# The runner, and so the job, gets the environment of a login on this machine. A child shell reads
# /etc/profile and only its exports are used: no line of that file can end or change this script.
[ -n "$user" ] || user=$(id -un 2>/dev/null) || user=$UID
export USER="$user" LOGNAME="$user"
start=("${as[@]}" env)
path=$PATH
# A process machine keeps the controller's.
if [ -z "${TINQS_CI_MACHINE:-}" ]; then
  path=
  # As pam_env reads it: data, never shell.
  if [ -f /etc/environment ]; then
    declaration='^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$'
    while IFS= read -r line || [ -n "$line" ]; do
      [[ ${line%%#*} =~ $declaration ]] || continue
      name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
      value=${value%"${value##*[![:space:]]}"}
      [[ $value != [\"\']* ]] || { value=${value:1} && value=${value%[\"\']}; }
      [ "$name" != PATH ] || path=$value
      start+=("$name=$value")
    done </etc/environment
  fi
  # Written when the child ends, in whatever way. `timeout` signals the child and then its group: the
  # second signal would end `env`.
  printf -v dump "trap '' TERM; %q -0 >&61" "$(type -P env)"
  # shellcheck disable=SC2016
  timeout -k 2 10 "${start[@]}" "HOME=$HOME" "USER=$user" "LOGNAME=$user" \
    "$BASH" --noprofile -l -c 'trap -- "$1" EXIT; shift; umask 022; cd; . /etc/profile' \
    -bash "$dump" </dev/null >/dev/null 2>&1 61>.login
  if [ "$?" -eq 124 ]; then
    login='/etc/profile was stopped after 10 s: its exports until then are used'
  else
    login='the environment of a login is read'
  fi
  exported=("${as[@]}" env -i)
  while IFS= read -r -d '' entry; do
    case $entry in
      PATH=*) path=${entry#*=} ;;
      PWD=* | OLDPWD=* | SHLVL=* | _=*) ;;
      [A-Za-z_]*) exported+=("$entry") ;;
    esac
  done <.login
  rm -f .login
  if [ "${#exported[@]}" -gt "$((${#as[@]} + 2))" ]; then
    start=("${exported[@]}")
  else
    login='/etc/profile ended or replaced its shell: its exports are not used'
  fi
  say "$login"
  # Keep the directories of the present PATH.
  rest=$PATH:
  while [ -n "$rest" ]; do
    dir=${rest%%:*} rest=${rest#*:}
    case :$path: in *:"$dir":*) ;; *) path=${path:+$path:}$dir ;; esac
  done
fi

