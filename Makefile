# `make demo` shows the whole job; `make test` is what continuous integration runs.
.NOTPARALLEL:
.PHONY: build demo tools lint test fips keyservices bench fuzz fixtures conformance

BIN := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rekey/bin

build:
	go build -trimpath -o bin/rekey ./cmd/rekey

# The whole job on a small library on this machine; nothing to install.
demo:
	go run ./cmd/rekey demo

# What tests need beside Go (Debian packages, MinIO, golangci-lint), if missing.
tools:
	scripts/tools.sh

lint: tools
	$(BIN)/golangci-lint run ./...

# pkcs11 is the build tag of the HSM provider, which needs cgo.
test: tools lint
	go vet ./...
	go build -tags fipsonly -o /dev/null ./cmd/rekey
	go test -race -timeout 30m -tags pkcs11 ./...

# The program for hosts that enforce FIPS 140-3, without the queue: its Redis
# client needs SHA-1.
fips:
	GOFIPS140=v1.0.0 go build -trimpath -tags fipsonly -o bin/rekey-fips ./cmd/rekey

# A rotation with each kind of key service, and two under FIPS 140-3.
keyservices: tools
	go test -race -count=1 -tags pkcs11 -v ./internal/keyservices

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Every fuzzer for FUZZTIME (10s) each.
fuzz:
	scripts/fuzz.sh

# Makes fixtures/ again from nothing; needs ffmpeg, openssl and npm.
fixtures:
	fixtures/make.sh

# Rekeys assets of other packagers: make conformance CORPUS=directory
conformance: tools
	@test -d "$(CORPUS)" || { echo 'conformance: CORPUS=directory is missing' >&2; exit 2; }
	REKEY_CORPUS=$(abspath $(CORPUS)) go test -count=1 -timeout 30m -v -run TestCorpus -tags conformance ./internal/conformance
