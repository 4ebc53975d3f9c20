# An index of what can be run. Logic lives in Go (tools/, tests/) and in .ci/run; a target here is one line or two.

GO ?= go
export GOTOOLCHAIN = local
TIME ?= 30m

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## the binary, static, into bin/charpoy
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/charpoy ./cmd/charpoy

.PHONY: cross
cross: ## builds for the systems that are supported, or for TARGETS
	@for t in $(or $(TARGETS),linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64); do \
	  echo $$t; CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -o /dev/null ./cmd/charpoy || exit 1; done

.PHONY: test
test: ## all tests of the module (under five minutes on two cores)
	$(GO) test -timeout 280s ./...

.PHONY: race
race: ## the concurrent packages under the race detector (needs gcc)
	CGO_ENABLED=1 $(GO) test -race -timeout 600s $(RACE)
RACE = ./internal/arena ./internal/auth ./internal/client ./internal/cluster/... ./internal/data ./internal/httpapi \
	./internal/kv ./internal/mcserver ./internal/metrics/... ./internal/network/... ./internal/node ./internal/run \
	./internal/storage ./internal/trace ./internal/testcluster ./internal/loadgen ./internal/disk/... ./charpoytest

.PHONY: noprobes
noprobes: ## the build without probes, which they are measured against
	$(GO) vet -tags noprobes ./...
	$(GO) test -tags noprobes -timeout 280s ./internal/trace ./internal/storage ./internal/kv ./internal/mcserver

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## golangci-lint as configured in .golangci.yml; built from tools/go.mod on first use
	$(GO) build -C tools -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run

.PHONY: fmt
fmt: ## format all Go files
	$(GO) build -C tools -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint fmt

.PHONY: layers
layers: ## the import law alone
	$(GO) test -count=1 ./internal/archtest

.PHONY: check
check: vet layers lint ## what a commit must pass besides its tests

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	$(GO) run -C tools ./fuzzall -time $(or $(FUZZTIME),10s) ..

.PHONY: crash
crash: ## kill -9 under load, ROUNDS (200) rounds with SEED, and the disk-fault tests
	$(GO) run -C tests ./crash -rounds $(or $(ROUNDS),200) -seed $(or $(SEED),1)
	$(GO) test -count=1 -timeout 600s -run 'Crash|Fault|Full|Flip|Torn' ./internal/storage ./internal/kv ./internal/node

.PHONY: hostile
hostile: ## attacks on a real server, with and without the race detector (needs gcc)
	$(GO) test -C tests -count=1 -timeout 900s ./hostile

.PHONY: sdk
sdk: ## the Go and Node.js example programs against servers of every kind (needs node and npm)
	$(GO) test -C tests -count=1 -timeout 600s . ./bench ./crash ./server

.PHONY: memcached-clients
memcached-clients: ## clients of plain memcached in Go, Node.js and Python against servers of every kind (needs npm and python3-pymemcache)
	$(GO) test -C tests -count=1 -timeout 300s -run TestMemcached .

.PHONY: bench
bench: ## the figures of docs/benchmarks.md
	$(GO) run -C tests ./bench $(if $(ONLY),-only $(ONLY))

.PHONY: bench-peers
bench-peers: ## against memcached and redis (apt-get install -y memcached redis-server); ARGS='-rows GET.*d16 -rounds 9'
	@mkdir -p bin
	$(GO) run -C tests ./bench peers -json ../bin/bench-peers.json -svg ../bin/bench-peers.svg $(ARGS)

.PHONY: demo
demo: ## a node with sample data
	$(GO) run ./cmd/charpoy demo

.PHONY: dev
dev: ## a node with kept data and the password "password", on loopback
	$(GO) run ./cmd/charpoy dev

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin
