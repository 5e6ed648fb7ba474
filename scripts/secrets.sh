#!/usr/bin/env bash
# Makes random credentials for docker-compose.yml in out/secrets, once. The
# folder is closed to others; the files in it are not, because a container's user
# must read them through the mount.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=out/secrets
if [[ -e $dir ]]; then
  echo "secrets.sh: $dir is there already, nothing done" >&2
  exit 0
fi
mkdir -p out
mkdir -m 0700 "$dir"
user=rekey password=$(openssl rand -hex 24)
printf '%s' "$user" >"$dir/minio-user"
printf '%s' "$password" >"$dir/minio-password"
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$user" "$password" >"$dir/aws-credentials"
openssl rand -hex 32 >"$dir/token"
chmod 0644 "$dir"/*
