# fetch: fetches the runner that the class names, and checks its hash before it runs.
fetch() {
  local file=$PWD/bin/gitea-runner hash
  say "$why: fetching $runner_url"
  mkdir -p bin || fail
  if type -P curl >/dev/null; then
    curl -fsSL --retry 5 --retry-connrefused --connect-timeout 10 -o "$file" "$runner_url"
  else
    wget -q -T 10 -t 5 -O "$file" "$runner_url"
  fi || fail 'the runner cannot be fetched, by curl or wget'
  hash=$(sha256sum "$file")
  hash=${hash%% *}
  [ "$hash" = "$runner_sha256" ] ||
    fail "the runner has the SHA-256 $hash, and the class says $runner_sha256"
  chmod 700 "$file"
  say "fetched $file"
  version=$("$file" --version) || fail "the runner does not run on $(uname -m)"
  path=$path:$PWD/bin
  use "$file" || fail "$why"
}

