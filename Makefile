# Lateen. `make demo` shows the mini mesh; `make test` checks everything.
SHELL := /bin/bash
CARGO ?= cargo
LATEEN := target/release/lateen

.PHONY: help build demo down test unit fuzz e2e lint conformance bench-mesh bench-api bench-control bench bench-quick clean

help: ## what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## build target/release/lateen
	@scripts/setup.sh build
	$(CARGO) build --release --package lateen-cli

demo: ## set up what is missing, start the mini mesh, show it working
	@scripts/setup.sh demo
	$(CARGO) build --release --package lateen-cli
	@scripts/demo.sh

down: ## stop the mesh that `make demo` left running
	@test ! -x $(LATEEN) || $(LATEEN) down

test: ## everything: format, lints, licences, units, simulation, end to end
	@scripts/test.sh

unit: ## units and simulation only
	$(CARGO) test --workspace --lib --bins --test it --test conformance

e2e: ## the real thing: kubectl, namespaces, traffic
	@scripts/setup.sh test
	$(CARGO) build --release --package lateen-cli
	$(CARGO) test --workspace --test e2e -- --test-threads=1 --skip conformance::

fuzz: ## what must hold for any input, with many inputs (FUZZ_CASES, by default 5000)
	LATEEN_FUZZ_CASES=$(or $(FUZZ_CASES),5000) $(CARGO) test --workspace --lib -- fuzz::

lint: ## format, clippy, house rules
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) xtask tidy

conformance: ## Istio's behaviour as data, counted by group
	@scripts/setup.sh test
	$(CARGO) build --release --package lateen-cli
	$(CARGO) test --workspace --test conformance -- --nocapture
	$(CARGO) test --workspace --test e2e -- --test-threads=1 --nocapture conformance::
	$(CARGO) test --workspace --lib --test it -- --nocapture resolves_as_istio_does rules_are_those_of_istio

bench-mesh: ## how fast and small the mini mesh is
	@scripts/setup.sh test
	$(CARGO) build --release --package lateen-cli
	$(CARGO) build --workspace --example mesh_figures
	target/debug/examples/mesh_figures

bench-api: ## how fast and small the API server is
	@scripts/setup.sh test
	$(CARGO) build --release --package lateen-cli
	$(CARGO) build --workspace --example api_figures
	target/debug/examples/api_figures

bench-control: ## how fast and small istiod is, with 1,000 proxies and Services
	@scripts/setup.sh test
	$(CARGO) build --release --package lateen-cli
	$(CARGO) build --workspace --example control_figures
	target/debug/examples/control_figures

bench: ## race Lateen's sidecar against Envoy; figures go to docs/performance.md
	@scripts/setup.sh bench
	$(CARGO) build --release --package lateen-cli
	$(CARGO) build --workspace --example race
	target/debug/examples/race --write docs/performance.md

bench-quick: ## the same race, shorter
	@scripts/setup.sh bench
	$(CARGO) build --release --package lateen-cli
	$(CARGO) build --workspace --example race
	target/debug/examples/race --quick

clean: ## remove what was built
	$(CARGO) clean
