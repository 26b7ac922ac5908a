# One line of help per target: the text behind "##".
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

SHELL := /bin/sh

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

VERSION ?= 0.1.0
GOLANGCI_LINT_VERSION = v2.15.0

# The binary as it ships (layer/build builds it the same way): static, without the paths of the machine that built it, and without HTTP/2,
# which neither DynamoDB nor anything on loopback speaks: half a megabyte less.
GO_BUILD = CGO_ENABLED=0 go build -tags nethttpomithttp2 -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
WITH_NODE = PATH="$(CURDIR)/.cache/node/bin:$$PATH"
WITH_DYNAMODB = go run ./extension/internal/testenv/dynamodblocal/cmd --

# --- Build --------------------------------------------------------------------------------------------------------------

.PHONY: build
build: ## Build bin/lambda-idempotency for this machine
	@mkdir -p bin
	$(GO_BUILD) -o bin/lambda-idempotency ./extension

.PHONY: opt
opt: part-java-client ## Build dist/opt/, the folder to mount as /opt (ARCH=arm64 for the other architecture)
	@umask 022 && go run ./layer/build -version $(VERSION) -arch $(or $(ARCH),$(shell uname -m | sed 's/aarch64/arm64/')) -out .cache/layer -opt dist/opt

.PHONY: layer
layer: part-java-client ## Build dist/lambda-idempotency-layer-{x86_64,arm64}.zip and their checksums
	@go run ./layer/build -version $(VERSION) -out dist

.PHONY: publish
publish: layer ## Publish the layers with the AWS CLI and print their ARNs
	@VERSION=$(VERSION) layer/publish.sh

.PHONY: demo
demo: build ## Run the Python example: twice, five times at once, failing and retried
	@python3 examples/python-handler/demo.py bin/lambda-idempotency

# --- Check --------------------------------------------------------------------------------------------------------------

.PHONY: test
test: build try-test-parts ## Run all tests, against the real DynamoDB engine and Lambda's runtime interface emulator
	$(WITH_DYNAMODB) go run ./extension/internal/testenv/gotest -timeout 10m ./...
	python3 -m unittest discover -s examples/python-handler
	$(MAKE) --no-print-directory test-clients

.PHONY: test-clients test-python test-node test-ruby test-java
test-clients: test-python test-node test-ruby test-java ## Test the clients of other languages against the built sidecar

test-python: build part-python-client
	cd client/python && ../../.cache/python-client/bin/mypy --cache-dir ../../.cache/python-client/mypy
	cd client/python && ../../.cache/python-client/bin/ruff check --no-cache . && ../../.cache/python-client/bin/ruff format --no-cache --check .
	cd client/python && PYTHONDONTWRITEBYTECODE=1 ../../.cache/python-client/bin/python -m pytest -q

test-node: build part-node-client
	cd client/node && SIDECAR=bin/lambda-idempotency $(WITH_NODE) npm test

test-ruby: build part-ruby
	ruby -w -Iclient/ruby/lib -Iclient/ruby/test client/ruby/test/all.rb

test-java: build part-java-client
	client/java/build.sh test

.PHONY: race
race: try-test-parts ## Run all Go tests under the race detector (needs a C compiler)
	$(WITH_DYNAMODB) go run ./extension/internal/testenv/gotest -race -timeout 20m ./...

.PHONY: lint
lint: .cache/bin/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Check formatting, vet and lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	$< run ./...

.cache/bin/golangci-lint-%:
	@mkdir -p .cache/bin && echo '*' >.cache/.gitignore
	GOBIN="$(CURDIR)/.cache/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$*
	mv .cache/bin/golangci-lint $@

.PHONY: chaos
chaos: try-test-parts ## Check histories of many sidecars under faults: SECONDS=60 SEED=1
	go run ./extension/internal/chaos/cmd -seconds $(or $(SECONDS),60) -seed $(or $(SEED),1)

.PHONY: outage
outage: try-test-parts ## Measure what handlers are told while DynamoDB is slow or away
	go run ./extension/internal/outage/cmd -parallel 4

.PHONY: soak
soak: try-test-parts ## Print goroutines, descriptors and memory over REQUESTS (1000000) requests
	go run ./extension/internal/soak/cmd -requests $(or $(REQUESTS),1000000) -dynamodb-requests 50000

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (1m)
	@for pkg in canon idempotency httpapi extapi runtimeproxy; do \
		for target in $$(go test -list '^Fuzz' ./extension/internal/$$pkg | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),1m) ./extension/internal/$$pkg || exit 1; \
		done; \
	done

# --- Measure ------------------------------------------------------------------------------------------------------------

.PHONY: size
size: build ## Print the size of the binary, its start-up time and its resident memory
	@ls -l bin/lambda-idempotency | awk '{ printf "bin/lambda-idempotency: %.1f MB\n", $$5 / 1e6 }'
	@gzip -9 -c bin/lambda-idempotency | wc -c | awk '{ printf "compressed: %.1f MB\n", $$1 / 1e6 }'
	go test -run '^$$' -bench '^BenchmarkStart$$' -benchtime 30x ./extension

.PHONY: bench
bench: part-bench ## Measure what idempotency costs, beside everything else, and write docs/benchmarks.md (BENCH='-quick -only cold')
	$(WITH_DYNAMODB) go run ./bench $(BENCH)

.PHONY: bench-proxy
bench-proxy: build ## Measure what the runtime proxy adds to an invocation
	go run ./bench/proxy

.PHONY: bench-clients
bench-clients: part-python part-nodejs part-ruby part-java-client part-tools part-dynamodblocal ## Measure what each client costs its handler (UPDATE=1 writes docs/clients.md)
	$(WITH_DYNAMODB) go run ./bench/clients

# --- What the tests run against -----------------------------------------------------------------------------------------
# parts.sh knows by itself what is there already (versions and checksums are beside it), so these are cheap to depend on.

.PHONY: test-parts
test-parts: part-dynamodblocal part-python part-emulator part-tools part-java-client part-node-ric part-templates ## Fetch what the tests run against into .cache/

.PHONY: part-dynamodblocal part-python part-emulator part-tools part-nodejs part-ruby part-jdk
part-dynamodblocal part-python part-emulator part-tools part-nodejs part-ruby part-jdk: part-%:
	@extension/internal/testenv/parts.sh $*

# What the tests of the clients run on.
.PHONY: part-python-client part-node-client
part-python-client: .cache/python-client/.requirements
.cache/python-client/.requirements: client/python/requirements-dev.txt
	@extension/internal/testenv/parts.sh tools
	python3 -m venv .cache/python-client
	.cache/python-client/bin/python -m pip install -q --disable-pip-version-check -r $<
	cp $< $@

part-node-client: part-nodejs .cache/node-client/node_modules/.package-lock.json
.cache/node-client/node_modules/.package-lock.json: client/node/package.json client/node/package-lock.json | part-nodejs
	@mkdir -p .cache/node-client
	cp client/node/package.json client/node/package-lock.json client/node/.npmrc .cache/node-client/
	cd .cache/node-client && $(WITH_NODE) npm ci --no-audit --no-fund --loglevel=error
	@touch $@
	ln -sfn ../../.cache/node-client/node_modules client/node/node_modules

.PHONY: part-node-ric
part-node-ric: part-nodejs
	@extension/internal/testenv/parts.sh node_ric

.PHONY: part-templates
part-templates: part-nodejs
	@$(WITH_NODE) layer/templates/check/fetch.sh

.PHONY: part-java-client
part-java-client: part-jdk
	@client/java/build.sh parts

.PHONY: part-bench
part-bench: part-dynamodblocal part-java-client part-node-ric .cache/bench-python/.requirements .cache/bench-node/node_modules/.package-lock.json
.cache/bench-python/.requirements: bench/drivers/python/requirements.txt
	@extension/internal/testenv/parts.sh tools
	python3 -m venv .cache/bench-python
	.cache/bench-python/bin/python -m pip install -q --disable-pip-version-check -r $<
	cp $< $@
.cache/bench-node/node_modules/.package-lock.json: bench/drivers/node/package.json bench/drivers/node/package-lock.json | part-nodejs
	@mkdir -p .cache/bench-node
	cp bench/drivers/node/package.json bench/drivers/node/package-lock.json bench/drivers/node/.npmrc .cache/bench-node/
	cd .cache/bench-node && $(WITH_NODE) npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# For targets that go on without a missing part and let the tests say what they skipped; with CI=true it has to be there.
.PHONY: try-test-parts
try-test-parts:
	@$(MAKE) --no-print-directory -k -j4 test-parts || [ "$$CI" != true ]

# --- Cleaning -----------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what was built, not what was fetched
	rm -rf bin dist client/java/target

.PHONY: distclean
distclean: clean ## Remove what was fetched, too
	rm -rf .cache client/node/node_modules
