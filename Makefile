# Portico's verbs. `make run` and `make test` are all a newcomer needs; both install what is missing.

GO      ?= go
BUILD   := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X portico/shared/version.number=$(VERSION)
FUZZTIME ?= 5s

.DEFAULT_GOAL := help
.PHONY: help go deps codecs build program-edge program-relay program-portico wasm run test test-go test-race test-js fuzz bench sim check fmt clean

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

go:
	@command -v $(GO) >/dev/null 2>&1 || { echo "Go is missing. Install Go 1.26 or newer (https://go.dev/dl/) and try again." >&2; exit 1; }

deps: ## install what the tests need beside Go (quiet when there is nothing to do)
	@tools/deps/install.sh

codecs: # the libraries with which the relay mixes; where they cannot be had, programs are built without
	@tools/deps/install.sh codecs

wasm: go
	@$(GO) run ./tools/wasmbuild

# Only the relay, what holds one, and the race detector build with cgo: programs and tests share what is compiled.
export CGO_ENABLED ?= 0

# 1 where the codecs' libraries are, for CGO_ENABLED of programs that mix.
CODECS = $(shell tools/deps/codecs.sh)

build: wasm $(addprefix program-,edge relay portico) ## build the programs into build/ and the browser client into web/sdk/dist

program-edge:    ; @$(GO) build -ldflags '$(LDFLAGS)' -o $(BUILD)/portico-edge ./edge
program-relay:   codecs ; @CGO_ENABLED=$(CODECS) $(GO) build -ldflags '$(LDFLAGS)' -o $(BUILD)/portico-relay ./relay
program-portico: codecs ; @CGO_ENABLED=$(CODECS) $(GO) build -ldflags '$(LDFLAGS)' -o $(BUILD)/portico ./tools/portico

run: wasm ## start an edge and a relay on this machine and print the address of the demo
	@[ -x $(BUILD)/portico ] || echo "Building Portico; the first time takes a few minutes …"
	@$(MAKE) --no-print-directory program-portico
	@exec $(BUILD)/portico dev $(ARGS)

# Most packages wait more than they compute: so many are tested at a time.
ATONCE := -p 4

test: deps wasm test-go test-race test-js ## run every test

test-go:
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) vet ./relay/...
	GOOS=js GOARCH=wasm $(GO) vet ./wasm/... ./shared/client/... ./shared/sioclient/... ./shared/wsconn/...
	$(GO) test $(ATONCE) $$($(GO) list ./... | grep -v -e /tools/e2e -e '^portico/relay') ./relay/codec/... ./relay/videomix # these two also do without cgo
	@echo "testing ./relay/..., and ./edge/rtc once more on the plain path"
	@PORTICO_TEST_PLAIN=1 $(GO) test ./edge/rtc & plain=$$!; \
		CGO_ENABLED=1 $(GO) test ./relay/...; relayed=$$?; wait $$plain && exit $$relayed
	$(GO) test -p 1 ./tools/e2e/... # one at a time: they share a browser's cache folder and want the machine for themselves

# The race detector runs over what is concurrent; the end-to-end tests start a program of their own and gain nothing from it.
test-race:
	CGO_ENABLED=1 $(GO) test $(ATONCE) -race ./shared/... ./edge/... \
		$$(CGO_ENABLED=1 $(GO) list ./relay/... | grep -v -e /audiomix -e /codec/ -e /payload) # these have no goroutines

# The packages that also run in a browser, under Node.
test-js:
	GOOS=js GOARCH=wasm $(GO) test -exec="$$($(GO) env GOROOT)/lib/wasm/go_js_wasm_exec" \
		./shared/jsonvalue ./shared/conference ./shared/portalproto ./shared/engineio ./shared/socketio ./shared/client ./wasm/...

fuzz: go ## run every fuzz target for FUZZTIME (default 5s)
	@for p in $$(CGO_ENABLED=1 $(GO) list ./...); do \
		case $$p in portico/relay/*) CGO_ENABLED=1;; *) CGO_ENABLED=0;; esac; \
		for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep '^Fuzz'); do \
			echo "$$p $$f"; \
			said=$$($(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p 2>&1) || { echo "$$said"; exit 1; }; \
		done; done

# What is on the way of every packet and message, and what mixing costs.
BENCHED   := ./shared/rtp/... ./shared/udpbatch/... ./shared/socketio ./shared/engineio ./edge/sfu/... ./edge/peer ./edge/udpdoor ./relay/turnserver
MIXING    := ./relay/audiomix ./relay/videomix ./relay/codec/... ./relay/pipeline ./relay/worker
BENCHTIME ?= 200ms

bench: go program-edge program-relay program-portico ## run the benchmarks, then the load scenarios against an edge and a relay on one core of this machine (7 minutes)
	-$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(BENCHED)
	-CGO_ENABLED=1 $(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(MIXING)
	@$(BUILD)/portico load -scenario all -turn -mix $(ARGS)

sim: go ## simulate the cluster: 1,000 seeds of moderate size, then 1,000 edges three times (20 minutes)
	$(GO) run ./tools/sim -seeds 1000
	$(GO) run ./tools/sim -big -seeds 3

check: test fuzz ## everything that must hold before a change lands
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "Not formatted: run make fmt." >&2; exit 1; }

fmt: go ## format the Go code
	@gofmt -w $$(git ls-files '*.go')

clean: ## remove what was built; data/ stays
	@rm -rf $(BUILD) web/sdk/dist/*
