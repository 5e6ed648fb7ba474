# rekey as one static binary. It runs as a user without rights; the one place it
# writes on disk is /var/lib/rekey, for the local master key.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /rekey ./cmd/rekey

FROM debian:bookworm-slim
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/rekey --create-home rekey \
 && chmod 0700 /var/lib/rekey
COPY --from=build /rekey /usr/local/bin/rekey
USER rekey
ENTRYPOINT ["rekey"]
