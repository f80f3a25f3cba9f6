#!/bin/sh
# poweroff, halt, shutdown and systemctl of a guest made of processes.
guest=$TINQS_CI_SIMULATED_GUEST
minutes=0
case ${0##*/} in
systemctl)
  case " $* " in
  *" poweroff "* | *" halt "* | *" reboot "*) ;;
  *) exit 0 ;;
  esac
  ;;
shutdown)
  for word in "$@"; do
    case $word in
    -c)
      [ ! -e "$guest/timer" ] || kill "$(cat "$guest/timer")"
      rm -f "$guest/timer"
      exit 0
      ;;
    +*) minutes=${word#+} ;;
    esac
  done
  ;;
esac
if [ "$minutes" != 0 ]; then
  seconds=$(awk -v minutes="$minutes" 'BEGIN { print minutes * 60 }')
  (
    trap 'kill $!; exit' TERM
    sleep "$seconds" &
    wait $!
    : >"$guest/powered-off"
  ) &
  echo $! >"$guest/timer"
  exit 0
fi
: >"$guest/powered-off"
exec sleep 3600
