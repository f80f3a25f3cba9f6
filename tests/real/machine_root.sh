#!/bin/sh
# The first process of a machine: machine_root.sh ROOT DIR. Mounts are those of its namespace.
set -eu
root=$1
dir=$2
merged=$dir/merged
mount -t overlay overlay -o "lowerdir=$root,upperdir=$dir/upper,workdir=$dir/work" "$merged"
mount -t proc proc "$merged/proc"
mount -t tmpfs tmpfs "$merged/run"
mount --rbind /dev "$merged/dev"
mkdir -p "$merged/opt/guest" "$merged/var/lib/cloud/instance"
mount --bind "$dir/guest" "$merged/opt/guest"
cp "$dir/guest/user-data" "$merged/var/lib/cloud/instance/user-data.txt"
umask 022
# The environment of cloud-init, and the guest's own commands to power off.
# shellcheck disable=SC2016 # expanded inside
exec chroot "$merged" /usr/bin/env -i \
  PATH=/opt/guest/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  TINQS_CI_SIMULATED_GUEST=/opt/guest \
  /bin/sh -c '
    cat /proc/uptime >/opt/guest/started
    # Not in a root that was never provisioned.
    if [ -x /usr/local/sbin/tinqs-ci-early-start ]; then
      /usr/local/sbin/tinqs-ci-early-start >/opt/guest/unit.log 2>&1 &
      # cloud-init comes to it later.
      for _ in $(seq 200); do [ -d /run/tinqs-ci ] && break; sleep 0.05; done
    fi
    /bin/bash /opt/guest/user-data >/opt/guest/cloud-init.log 2>&1 || echo "cloud-init: $?"
    wait
    # Nobody powered it off: it runs on, as a machine would.
    while :; do sleep 60; done
  '
