# The machine trusts the authority of its class.
say 'installing the authority of the class'
(
  umask 022
  # Debian and Ubuntu; otherwise Fedora and Amazon Linux.
  if type -P update-ca-certificates >/dev/null; then
    dir=/usr/local/share/ca-certificates update=update-ca-certificates
  else
    dir=/etc/pki/ca-trust/source/anchors update=update-ca-trust
  fi
  mkdir -p "$dir" && chmod 644 ca.pem && cp ca.pem "$dir/tinqs-ci.crt" && "$update" >/dev/null
) || fail 'the authority of the class cannot be installed'
# Node.js has certificates of its own.
start+=("NODE_EXTRA_CA_CERTS=$PWD/ca.pem")

