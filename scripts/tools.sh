#!/usr/bin/env bash
# Installs what the tests need on a Debian machine that has Go: Debian packages
# for the commands that are missing, and Go programs at fixed versions, built
# once into the cache directory. What is there already is left alone.
set -euo pipefail

bin=${XDG_CACHE_HOME:-$HOME/.cache}/rekey/bin

# command:package; gcc is for the race detector, Redis and MinIO are what the
# tests of queue and store talk to, FFmpeg is the decryptor they compare with,
# Chromium plays what was rotated, SoftHSM2 is the token of the PKCS#11 provider,
# and gcore (gdb) takes the core of a worker in which no key may be found. Of the
# Go programs local-kms stands in for AWS KMS, and versitygw is the second S3
# server that the tests of store talk to.
wanted=(make:make git:git gcc:gcc redis-server:redis-server ffmpeg:ffmpeg openssl:openssl chromium:chromium softhsm2-util:softhsm2 gcore:gdb)

go_tools=(
  minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
  versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
  golangci-lint=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
  local-kms=github.com/nsmithuk/local-kms@v0.0.0-20260228092603-2a5e92d09ab6
)

command -v go >/dev/null || { echo "tools.sh: Go is not installed, see https://go.dev/doc/install" >&2; exit 1; }

missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# The C library's headers have no command to look for.
[[ " ${missing[*]-} " != *" gcc "* ]] || missing+=(libc6-dev)

if ((${#missing[@]})); then
  command -v apt-get >/dev/null || { echo "tools.sh: no apt-get here; install: ${missing[*]}" >&2; exit 1; }
  root=()
  ((EUID == 0)) || root=(sudo)
  echo "tools.sh: installing ${missing[*]}"
  "${root[@]}" apt-get update -q
  # policy-rc.d would be the way to keep Debian from starting its own Redis;
  # tests start theirs on another port, so that one does no harm.
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

mkdir -p "$bin"

# promtool checks the alert rules. It comes in Debian's package prometheus, which
# on a machine with systemd would also start a server that listens on every
# address, for as long as the machine runs. So the package is not installed: only
# this one program is taken out of it. apt-get checks it as it does any package.
if ! command -v promtool >/dev/null && [[ ! -x $bin/promtool ]]; then
  command -v dpkg-deb >/dev/null || { echo "tools.sh: no dpkg-deb here; put promtool, of Prometheus 2.42 or newer, in PATH" >&2; exit 1; }
  echo "tools.sh: taking promtool out of Debian's package prometheus (once)"
  part=$(mktemp -d)
  trap 'rm -rf "$part"' EXIT
  if ! (cd "$part" && apt-get download -q prometheus); then
    # No package lists yet.
    root=()
    ((EUID == 0)) || root=(sudo)
    "${root[@]}" apt-get update -q
    (cd "$part" && apt-get download -q prometheus)
  fi
  dpkg-deb --fsys-tarfile "$part"/prometheus_*.deb | tar -x -C "$part" ./usr/bin/promtool
  install -m 0755 "$part/usr/bin/promtool" "$bin/promtool"
fi

for pair in "${go_tools[@]}"; do
  name=${pair%%=*} module=${pair#*=}
  if [[ -x $bin/$name ]] && go version -m "$bin/$name" | grep -q "[[:space:]]${module##*@}\b"; then
    continue
  fi
  echo "tools.sh: building $module (once)"
  GOBIN=$bin go install "$module"
done
