# The job runs as a user of the image; this script keeps root, to power off.
say "the job runs as $user"
if ! IFS=: read -r _ _ uid gid _ HOME _ < <(getent passwd "$user") ||
  [ "$uid" -eq 0 ] || [ ! -d "$HOME" ]; then
  fail "the image has no user $user, other than root, with a home directory"
fi
as=(setpriv "--reuid=$uid" "--regid=$gid" --init-groups)
type -P setpriv >/dev/null ||
  fail 'the image has no setpriv (util-linux), which runs the job as another user'
[ -z "$in_docker" ] || usermod -aG docker "$user" ||
  fail 'the image has no group docker: install Docker there'
# A job that may become root, or have the role of the machine, cannot be fenced, or is not to be.
metadata_fenced() {
  nft "add table inet tinqs_ci
    add chain inet tinqs_ci output { type filter hook output priority 0; }
    add rule inet tinqs_ci output meta skuid $uid ip daddr 169.254.169.254 reject
    add rule inet tinqs_ci output meta skuid $uid ip6 daddr fd00:ec2::254 reject" && return
  ip6tables -I OUTPUT -d fd00:ec2::254 -m owner --uid-owner "$uid" -j REJECT
  iptables -I OUTPUT -d 169.254.169.254 -m owner --uid-owner "$uid" -j REJECT
} 2>/dev/null
if [ -z "$fence" ]; then
  fenced="the instance metadata service is open to $user"
elif metadata_fenced; then
  fenced="the instance metadata service is closed to $user"
else
  fenced="neither nft nor iptables works here: $user can reach the instance metadata service"
fi
# The image, too, may have put the user there, or may allow it sudo.
root_by=
case "$in_docker $(id -Gn "$user" 2>/dev/null) " in
  1* | *" docker "*) root_by='is in the group docker' ;;
  *) ! timeout -k 2 10 "${as[@]}" sudo -n true >/dev/null 2>&1 || root_by='has sudo without a password' ;;
esac
[ -z "$root_by" ] || fenced="$user $root_by: a job can become root, nothing is fenced"
say "$fenced"
dir=$HOME/tinqs-ci
{ mkdir -p "$dir" && chown "$uid:$gid" "$dir" && cd "$dir"; } || fail

