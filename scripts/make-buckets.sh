#!/bin/sh
# make-buckets ENDPOINT BUCKET...: makes each bucket unless it is there. The
# credentials are read from $SECRETS (default /run/secrets), never from arguments,
# and reach curl on standard input for the same reason.
set -eu

endpoint=$1
shift
secrets=${SECRETS:-/run/secrets}
user=$(cat "$secrets/minio-user")
password=$(cat "$secrets/minio-password")

for bucket; do
  status=$(printf 'user = "%s:%s"\n' "$user" "$password" |
    curl -sS -K - --aws-sigv4 aws:amz:us-east-1:s3 -X PUT -o /dev/null -w '%{http_code}' "$endpoint/$bucket")
  case $status in
    200) echo "made $bucket" ;;
    409) echo "$bucket is there" ;; # BucketAlreadyOwnedByYou
    *) echo "make-buckets: $bucket: HTTP status $status" >&2; exit 1 ;;
  esac
done
