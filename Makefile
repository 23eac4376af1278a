# The same words for people and CI. `make demo` runs the main job, `make test` passes the tests; both set everything up.
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: deps build test test-long lint tidy format demo demo-check demo-down proxy-check mesh-check sanitize soak fuzz fuzz-libfuzzer bench differential differential-planted install uninstall clean generate

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
SOAK ?= 1800
FUZZ ?= 60
TARGET ?=
RELEASE := .build/release
STRICT := --explicit-target-dependency-import-check error

deps: ## install the Debian packages that are missing
	@sh tools/deps.sh

build: deps ## release products in .build/release: skein, skein-proxy
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-proxy
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein

test: deps ## all tests (as root: many make network namespaces and containers)
	@test "$$(id -u)" = 0 || { echo "make test: run as root (sudo make test): the tests make network namespaces and containers" >&2; exit 1; }
	$(SWIFT) build --build-tests $(STRICT)
	/usr/bin/python3 tools/test.py
	/usr/bin/python3 tools/cost-check.py debug

test-long: test demo-check proxy-check mesh-check ## and everything again under the address and the thread sanitizer
	bash tools/sanitize.sh all address thread

sanitize: deps ## what is pure or reads bytes from outside, under the thread and the address sanitizer
	bash tools/sanitize.sh

lint: deps ## layer table, format
	/usr/bin/python3 tools/check-imports.py
	$(SWIFT) format lint --strict -r -p Sources Tests Package.swift

tidy: ## lengths, leftovers, links, generated code
	/usr/bin/python3 tools/tidy.py
	/usr/bin/python3 tools/generate-envoy.py
	git diff --exit-code --stat -- Sources/EnvoyAPI

format:
	$(SWIFT) format -i -r -p Sources Tests Package.swift

generate: ## Sources/EnvoyAPI from tools/envoy
	/usr/bin/python3 tools/generate-envoy.py

demo: build ## the bookstore at http://127.0.0.1:8080/
	@test "$$(id -u)" = 0 || { echo "make demo: run as root (sudo make demo): pods are network namespaces and containers" >&2; exit 1; }
	$(RELEASE)/skein up -f examples/bookstore --images host --detach
	@echo; echo "Stop it with: $(RELEASE)/skein down"

demo-down:
	$(RELEASE)/skein down

demo-check: build ## the whole product, from outside: split, failover, scaling, kill -9, down
	/usr/bin/python3 tools/demo-check.py

proxy-check: build ## skein-proxy with real peers: conformance, gRPC, xDS, WebSocket, 1 GiB transfers, smuggling, 60 s of soak
	/usr/bin/python3 tools/cost-check.py release
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/proxy-check.py

mesh-check: build ## Envoy and gRPC under our control plane: routing, splits, retries, refusals, restart (as root: a network namespace)
	@test "$$(id -u)" = 0 || { echo "make mesh-check: run as root (sudo make mesh-check): it makes a network namespace" >&2; exit 1; }
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/mesh-check.py

soak: build ## half an hour of churn (SOAK=seconds)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/soak.py --seconds $(SOAK)

fuzz: ## every decoder under random input (FUZZ=seconds for each)
	$(SWIFT) build --build-tests
	SKEIN_FUZZ_SECONDS=$(FUZZ) SWIFT_BACKTRACE=enable=no $(SWIFT) test --skip-build --disable-xctest --no-parallel --filter FuzzTests

fuzz-libfuzzer: ## the same entry points, inputs found by coverage (FUZZ=seconds for each, TARGET=name for one)
	bash tools/fuzz-libfuzzer.sh $(FUZZ) $(TARGET)

bench: build ## skein-proxy under load (see Benchmarks/README.md)
	/usr/bin/python3 Benchmarks/run.py

differential: build ## skein-proxy against Envoy: the same files, the same requests (see tools/differential/README.md)
	python3 tools/differential/run.py --quiet --defaults envoy
	python3 tools/differential/run.py --quiet --defaults hardened

differential-planted: ## whether the differential suite sees faults that are built in on purpose
	python3 tools/differential/planted.py

install: build ## into $(DESTDIR)$(PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(RELEASE)/skein $(RELEASE)/skein-proxy
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/skein.8 docs/man/skein-proxy.8
	$(RELEASE)/skein completion bash > skein.bash.tmp
	install -D -m 0644 skein.bash.tmp $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein
	$(RELEASE)/skein-proxy completion bash > skein.bash.tmp
	install -D -m 0644 skein.bash.tmp $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein-proxy
	rm -f skein.bash.tmp

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/skein $(DESTDIR)$(PREFIX)/bin/skein-proxy
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/skein.8 $(DESTDIR)$(PREFIX)/share/man/man8/skein-proxy.8
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein-proxy

clean:
	rm -rf .build
