# MinIO from its Go module, at the version scripts/tools.sh builds for the tests.
FROM golang:1.26-bookworm AS build
RUN CGO_ENABLED=0 go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

FROM debian:bookworm-slim
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --create-home minio
COPY --from=build /go/bin/minio /usr/local/bin/minio
COPY scripts/make-buckets.sh /usr/local/bin/make-buckets
USER minio
