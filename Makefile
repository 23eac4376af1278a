# The same words for people and CI. `make demo` runs the main job, `make test` passes the tests; both set everything up.
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: deps build test test-long lint tidy format demo demo-check demo-down alerts-check proxy-check mesh-check api-check source-check insight-check dashboard-check screenshots cni-check docker-check hosts-check hosts-check-short store-check semantics sanitize soak fuzz fuzz-libfuzzer bench bench-footprint bench-control bench-api differential differential-planted function-order install uninstall clean generate bench-cni bench-dns bench-services registry-check kernel-check planner-check bench-insight bench-throughput

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
SOAK ?= 1800
BENCH ?=
FUZZ ?= 60
TARGET ?=
DOCKER ?= words ports overlay calls own pods
DEMO ?=
KERNEL ?=
TESTS ?=
RELEASE := .build/release
STRICT := --explicit-target-dependency-import-check error

deps: ## install the Debian packages that are missing
	@sh tools/deps.sh

build: deps ## release products in .build/release: skein, skein-proxy, skein-cni
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-proxy
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-cni
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein

test: deps ## all tests (as root: many make network namespaces and containers)
	@test "$$(id -u)" = 0 || { echo "make test: run as root (sudo make test): the tests make network namespaces and containers" >&2; exit 1; }
	$(SWIFT) build --build-tests $(STRICT)
	/usr/bin/python3 tools/test.py $(TESTS)
	/usr/bin/python3 tools/cost-check.py debug

test-long: test demo-check proxy-check mesh-check api-check source-check ## and everything again under the address and the thread sanitizer; 10,000 containers
	/usr/bin/python3 tools/cni-check.py cycles --cycles 10000
	/usr/bin/python3 tools/docker-check.py
	bash tools/sanitize.sh all address thread

sanitize: deps ## what is pure or reads bytes from outside, under the thread and the address sanitizer
	bash tools/sanitize.sh

lint: deps ## layer table, format
	/usr/bin/python3 tools/check-imports.py
	/usr/bin/python3 tools/dashboard-assets.py --check
	$(SWIFT) format lint --strict -r -p Sources Tests Package.swift

semantics: ## which test holds which rule of docs/semantics.md (LOG=what swift test printed)
	/usr/bin/python3 tools/semantics.py $(LOG)

tidy: ## lengths, leftovers, links, generated code
	/usr/bin/python3 tools/tidy.py
	/usr/bin/python3 tools/fields-check.py
	/usr/bin/python3 tools/generate-envoy.py
	git diff --exit-code --stat -- Sources/EnvoyAPI

format:
	$(SWIFT) format -i -r -p Sources Tests Package.swift

generate: ## Sources/EnvoyAPI from tools/envoy, the dashboard's files as Swift
	/usr/bin/python3 tools/generate-envoy.py
	/usr/bin/python3 tools/dashboard-assets.py

demo: build ## the bookstore at http://127.0.0.1:8080/
	@test "$$(id -u)" = 0 || { echo "make demo: run as root (sudo make demo): pods are network namespaces and containers" >&2; exit 1; }
	$(RELEASE)/skein up -f examples/bookstore --images host --detach
	@echo; echo "Stop it with: $(RELEASE)/skein down"

demo-down:
	$(RELEASE)/skein down

demo-check: build ## the whole product, from outside: split, failover, scaling, kill -9, down (DEMO=--failed: what failed the last time)
	/usr/bin/python3 tools/demo-check.py $(DEMO)

alerts-check: build ## the shipped alert rules, each by a real cause; that of a wrong clock is in hosts-check (as root; three quarters of an hour)
	/usr/bin/python3 tools/demo-check.py alerts shortages

planner-check: build ## what skein plan foresees of the bookstore: a delay, twice the rate, a lost replica; and that it refuses on a busy machine (as root)
	/usr/bin/python3 tools/demo-check.py planner

proxy-check: build ## skein-proxy with real peers: conformance, gRPC, xDS, WebSocket, 1 GiB transfers, smuggling, 60 s of soak
	/usr/bin/python3 tools/cost-check.py release
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/proxy-check.py

api-check: build ## every kubectl of this machine and the Python client at our API (as root: namespaces)
	@test "$$(id -u)" = 0 || { echo "make api-check: run as root (sudo make api-check): it makes namespaces" >&2; exit 1; }
	PYTHON="$$(sh tools/python.sh)" && SKEIN_KUBECTL_120="$$(sh tools/kubectl-old.sh)" "$$PYTHON" tools/api-check.py

source-check: build ## the control plane of a Kubernetes API behind a hostile proxy
	python3 tools/source-check.py

store-check: build ## two control planes on one etcd under continuous writes, while they and etcd are killed; ROUND=--short in less than a minute (etcd-server)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/store-check.py $(ROUND)

hosts-check: build ## three machines as network namespaces: overlay and host-gw, partition, a machine killed (as root; some minutes)
	@test "$$(id -u)" = 0 || { echo "make hosts-check: run as root (sudo make hosts-check): it makes namespaces" >&2; exit 1; }
	/usr/bin/python3 tools/hosts-check.py

hosts-check-short: build ## three machines by VXLAN, without what waits until one is given up: less than a minute (as root)
	@test "$$(id -u)" = 0 || { echo "make hosts-check-short: run as root (sudo make hosts-check-short): it makes namespaces" >&2; exit 1; }
	/usr/bin/python3 tools/hosts-check.py --short overlay

kernel-check: deps ## WireGuard, ipvlan, VLANs and SCTP in a virtual machine with Debian's kernel, unpacked and not installed (as root; minutes; KERNEL=parts)
	@test "$$(id -u)" = 0 || { echo "make kernel-check: run as root (sudo make kernel-check): it gives this machine's files to a virtual one" >&2; exit 1; }
	$(SWIFT) build --build-tests $(STRICT)
	/usr/bin/python3 tools/kernel-check.py $(KERNEL)

cni-check: deps ## skein-cni called directly, by podman and by containerd; ended at every system call (as root: namespaces of its own)
	@test "$$(id -u)" = 0 || { echo "make cni-check: run as root (sudo make cni-check): it makes namespaces" >&2; exit 1; }
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-cni
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/cni-check.py

docker-check: build ## skein docker-plugin with a Docker engine (as root: namespaces and a dockerd of its own; DOCKER= tries everything, 2 min)
	@test "$$(id -u)" = 0 || { echo "make docker-check: run as root (sudo make docker-check): it makes namespaces" >&2; exit 1; }
	/usr/bin/python3 tools/docker-check.py $(DOCKER)

mesh-check: build ## Envoy, gRPC and many simulated proxies under our control plane (as root: a network namespace)
	@test "$$(id -u)" = 0 || { echo "make mesh-check: run as root (sudo make mesh-check): it makes a network namespace" >&2; exit 1; }
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/mesh-check.py
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-bench
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/bench-control.py --services 50 --proxies 100 --seconds 5 --kib-each 150

registry-check: build ## the registry with PyPI's python-consul2, and a pod that calls a program on this machine (as root: namespaces)
	@test "$$(id -u)" = 0 || { echo "make registry-check: run as root (sudo make registry-check): it makes namespaces" >&2; exit 1; }
	/usr/bin/python3 tools/registry-check.py

insight-check: build ## queries on the same samples, ours against those of Prometheus (needs Debian's prometheus)
	python3 tools/insight-check.py

dashboard-check: build ## the dashboard in Debian's Chromium while the bookstore runs: what it shows, sizes, contrast, keyboard, both languages
	/usr/bin/python3 tools/dashboard-check.py

screenshots: build ## docs/images of the dashboard
	/usr/bin/python3 tools/dashboard-check.py --screenshots docs/images

soak: build ## half an hour of churn (SOAK=seconds)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/soak.py --seconds $(SOAK)

fuzz: ## every decoder under random input (FUZZ=seconds for each)
	$(SWIFT) build --build-tests
	SKEIN_FUZZ_SECONDS=$(FUZZ) SWIFT_BACKTRACE=enable=no $(SWIFT) test --skip-build --disable-xctest --no-parallel --filter FuzzTests

fuzz-libfuzzer: ## the same entry points, inputs found by coverage (FUZZ=seconds for each, TARGET=name for one)
	bash tools/fuzz-libfuzzer.sh $(FUZZ) $(TARGET)

bench: build ## skein-proxy under load (see Benchmarks/README.md)
	/usr/bin/python3 Benchmarks/run.py

bench-footprint: build ## memory, start, big tables, a second worker, handshakes, ours and Envoy's (BENCH="--only idle"; wrk, h2load)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" Benchmarks/footprint.py $(BENCH)

bench-control: build ## the control plane with 2,000 simulated proxies (BENCH="--proxies 5000 --services 10000 --uses 20"; as root)
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-bench
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/bench-control.py $(BENCH)

bench-api: build ## the API and its stores: writes a second, lists, 500 watchers, memory (BENCH="--pods 10000"; as root)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/bench-api.py $(BENCH)

bench-throughput: deps ## TCP between two containers beside a plain bridge (BENCH=rounds; as root)
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-cni
	/usr/bin/python3 tools/bench-throughput.py $(BENCH)

bench-cni: deps ## ADD and DEL of skein-cni beside the reference plugins (BENCH=runs; as root)
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-cni
	/usr/bin/python3 tools/bench-cni.py $(BENCH)

bench-dns: deps ## the name server beside unbound, under dnsperf (BENCH="--seconds 10 --rounds 3"; Debian's unbound and dnsperf)
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-bench
	/usr/bin/python3 tools/bench-dns.py $(BENCH)

bench-services: build ## service addresses with 10 and with 10,000 services: a changed endpoint, a connection (as root)
	/usr/bin/python3 tools/bench-services.py $(BENCH)

bench-insight: build ## metrics, log and traces beside a plain proxy; skein tap; the store with 200 services (BENCH="--only tap"; as root; h2load)
	SKEIN_STATIC=1 $(SWIFT) build -c release --static-swift-stdlib $(STRICT) --product skein-bench
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" Benchmarks/insight.py $(BENCH)

differential: build ## skein-proxy against Envoy: the same files, the same requests (see tools/differential/README.md)
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/differential/run.py --quiet --defaults envoy && "$$PYTHON" tools/differential/run.py --quiet --defaults hardened

differential-planted: ## whether the differential suite sees faults that are built in on purpose
	PYTHON="$$(sh tools/python.sh)" && "$$PYTHON" tools/differential/planted.py

function-order: build ## tools/function-order.txt: which functions serving needs, for the linker
	/usr/bin/python3 tools/function-order.py

install: build ## into $(DESTDIR)$(PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(RELEASE)/skein $(RELEASE)/skein-proxy
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/lib/cni $(RELEASE)/skein-cni
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/man/skein.8 docs/man/skein-proxy.8 docs/man/skein-cni.8
	$(RELEASE)/skein completion bash > skein.bash.tmp
	install -D -m 0644 skein.bash.tmp $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein
	$(RELEASE)/skein-proxy completion bash > skein.bash.tmp
	install -D -m 0644 skein.bash.tmp $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein-proxy
	rm -f skein.bash.tmp

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/lib/cni/skein-cni
	rm -f $(DESTDIR)$(PREFIX)/bin/skein $(DESTDIR)$(PREFIX)/bin/skein-proxy
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/skein.8 $(DESTDIR)$(PREFIX)/share/man/man8/skein-proxy.8 $(DESTDIR)$(PREFIX)/share/man/man8/skein-cni.8
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skein-proxy

clean:
	rm -rf .build
