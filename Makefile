# The cluster tests build with the same settings. With another CGO_ENABLED or without
# -trimpath, Go would compile each dependency again.
export CGO_ENABLED = 0
export GOFLAGS = -trimpath -buildvcs=false

PORT = 1053
# These tests print how many questions they asked.
agreement = ^(TestCorpus|TestDifferential|TestDifferentialImports)$$
CLUSTERS = 20000
DURATION = 1h
PODS = 1000
ROUNDS = 5
SEED = $(shell date +%s)
EVENTS = 10000000
QUERIES = 10000000
RACE_EVENTS = 100000
FUZZTIME = 1h
# Without --abbrev, the length would depend on the number of objects in the clone.
version := $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null)
revision := $(shell git rev-parse HEAD 2>/dev/null)
IMAGE = headless:$(or $(version),latest)
go-licenses = github.com/google/go-licenses@v1.6.0
licenses = Apache-2.0,BSD-2-Clause,BSD-3-Clause,CC0-1.0,ISC,MIT,MPL-2.0
golangci-lint = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
actionlint = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
govulncheck = golang.org/x/vuln/cmd/govulncheck@v1.1.4
VULNDB = https://vuln.go.dev

.PHONY: build coredns-amd64 coredns-arm64 run test tools daemons resolvers knot lint unit race cluster compat differential histories fastpath fuzz soak bench servers growth rendezvous relist hostile image release generate reproducible e2e e2e-check clean
.NOTPARALLEL:

# CoreDNS prints its own version, with this version as its commit.
ldflags = -s -w -X github.com/coredns/coredns/coremain.GitCommit=$(version) \
	-X github.com/headless-dns/headless.linkedVersion=$(version) -X github.com/headless-dns/headless.linkedRevision=$(revision)
build:
	go build -ldflags "$(ldflags)" -o coredns ./plugin/coredns

# The platforms of a release. The manifests in plugin/deploy exclude nodes of others.
platforms = amd64 arm64
$(platforms:%=coredns-%): coredns-%:
	GOOS=linux GOARCH=$* go build -ldflags "$(ldflags)" -o $@ ./plugin/coredns

# Two CoreDNS processes can share a port without an error, so this looks for the port in
# the kernel's tables first. A line has address:port in hexadecimal, the peer, and the
# state: 07 for an open UDP socket, 0A for a TCP listener.
run: build
	@if cat /proc/net/udp /proc/net/udp6 /proc/net/tcp /proc/net/tcp6 2>/dev/null | \
		grep -Eq "$$(printf ' [0-9A-F]+:%04X [0-9A-F]+:0000 (07|0A) ' '$(PORT)')"; then \
		echo "make run: port $(PORT) is in use; for another one: make run PORT=1054" >&2; exit 1; \
	fi
	@echo 'Try in another shell:'
	@echo '  dig @127.0.0.1 -p $(PORT) _web._tcp.nginx.default.svc.cluster.local SRV'
	@echo '  dig @127.0.0.1 -p $(PORT) mariadb-2.mariadb.default.svc.cluster.local  # missing, and why:'
	@echo '  dig @127.0.0.1 -p $(PORT) _why.mariadb-2.mariadb.default.svc.cluster.local TXT +short'
	@exec ./coredns -conf testdata/run/Corefile -dns.port $(PORT)

# On two cores this takes about 25 minutes the first time, mostly to compile CoreDNS,
# Kubernetes and golangci-lint, and 15 minutes after that.
test: tools lint unit race cluster
	@echo "== all tests passed"

# Programs that the tests need besides Go, as program:Debian package.
programs = dig:dnsutils busybox:busybox-static jq:jq openssl:openssl shellcheck:shellcheck gcc:gcc gnuplot:gnuplot-nox \
	kdig:knot-dnsutils drill:ldnsutils delv:bind9-dnsutils dnsmasq:dnsmasq-base
tools:
	@missing=; for tool in $(programs); do \
		command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "make: first install these Debian packages:$$missing" >&2; exit 1; \
	fi; \
	echo "== installing$$missing"; \
	for try in 1 2; do \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install $$missing </dev/null && exit 0; \
	done; \
	echo "make: could not install$$missing" >&2; exit 1

# Installing these Debian packages would start the daemons, now and at every boot. So make
# only unpacks them, beside Go's build cache.
daemon_programs = prometheus:prometheus promtool:prometheus
unpacked := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/headless-daemons
export PATH := $(PATH):$(unpacked)/usr/bin
daemons:
	@for daemon in $(daemon_programs); do \
		command -v $${daemon%:*} >/dev/null && continue; \
		package=$${daemon#*:}; \
		if ! command -v apt-get >/dev/null; then \
			echo "make: $${daemon%:*} is missing" >&2; exit 1; \
		fi; \
		echo "== unpacking $$package"; \
		mkdir -p $(unpacked) && cd $(unpacked) && rm -f *.deb; \
		for try in 1 2; do \
			apt-get -qq -o APT::Sandbox::User= download $$package && dpkg-deb -x *.deb . && rm *.deb && continue 2; \
			apt-get -qq update || true; \
		done; \
		echo "make: could not get the package $$package" >&2; exit 1; \
	done

# $(call unpack,FOLDER,PACKAGES,PROGRAMS) unpacks packages with the libraries that the machine
# lacks, for the same reason.
define unpack
	@missing=; for program in $(3); do test -x $(unpacked)/$(1)/usr/sbin/$$program || missing=1; done; \
	[ -n "$$missing" ] || exit 0; \
	echo "== unpacking $(2)"; \
	mkdir -p $(unpacked)/$(1) && cd $(unpacked)/$(1) && rm -rf archives; \
	for try in 1 2; do \
		mkdir -p archives/partial && apt-get -qq -o Dir::Cache::archives=$$PWD/archives -o APT::Sandbox::User= \
			--download-only --no-install-recommends install $(2) </dev/null >/dev/null && \
			for deb in archives/*.deb; do dpkg-deb -x $$deb . || exit 1; done && rm -rf archives && exit 0; \
		apt-get -qq update || true; \
	done; \
	echo "make: could not get the packages $(2)" >&2; exit 1
endef

# Resolvers between a client and the server.
resolvers:
	$(call unpack,resolvers,unbound pdns-recursor,unbound pdns_recursor)

# Knot DNS, which a benchmark compares. Without it, that leaves it out.
knot:
	-$(if $(wildcard /usr/sbin/knotd),,$(call unpack,knot,knot,knotd))

lint:
	@echo "== lint"
	@unformatted=$$(gofmt -l .) && [ -z "$$unformatted" ] || { echo "make: run gofmt -w $$unformatted" >&2; exit 1; }
	go mod tidy -diff
	go vet -tags cluster,e2e,soak ./...
	go run $(golangci-lint) run
	@# With -trimpath, go-licenses takes every package for one of the standard library.
	@# Its warnings are about files that it can't read, mostly assembly: those have their
	@# module's license.
	@echo "go run $(go-licenses) check ./plugin/coredns"; \
	out=$$(GOFLAGS= go run $(go-licenses) check --allowed_licenses=$(licenses) ./plugin/coredns 2>&1) || \
		{ echo "$$out" | grep -v '^W\|\.s$$' >&2; exit 1; }
	@# A database that can't be reached is a loud message, not a failure.
	@echo "go run $(govulncheck) -db $(VULNDB) ./..."; \
	out=$$(go run $(govulncheck) -db $(VULNDB) ./... 2>&1) || case $$out in \
		*"fetching vulnerabilities: "*) printf '%s\n' "$$out" \
			'make: NOT CHECKED FOR KNOWN VULNERABILITIES: govulncheck could not read its database, see above' >&2;; \
		*) printf '%s\n' "$$out" >&2; exit 1;; \
	esac
	go run $(actionlint) .github/workflows/*.yml
	if command -v shellcheck >/dev/null; then shellcheck -P SCRIPTDIR .ci/run plugin/*.sh testdata/cluster/*.sh; fi

unit:
	@echo "== unit tests"
	go test -skip '$(agreement)' ./...
	@echo "== agreement with the in-tree plugin"
	go test -v -run '$(agreement)' ./plugin/coredns

# The race detector needs cgo. Two tests start the kubernetes plugin, each in a process of its own:
# at its setup that plugin writes klog's logger, which the watches of an earlier one still read.
race:
	@echo "== unit tests with the race detector"
	CGO_ENABLED=1 HISTORY_EVENTS=$(RACE_EVENTS) go test -race -skip '^TestDifferentialImports$$' ./...
	CGO_ENABLED=1 go test -race -run '^TestDifferentialImports$$' ./plugin/coredns

# TestFaults has its own control plane and mostly waits for timeouts, so the others run
# beside it. The two that compare with the in-tree plugin need no Kubernetes and have run.
cluster_tests = HEADLESS_COREDNS=$(CURDIR)/coredns go test -tags cluster -count=1 -timeout 30m
cluster: build daemons resolvers
	@echo "== tests with Kubernetes, and of the deployments with Prometheus"
	testdata/cluster/build.sh
	$(cluster_tests) -run '^TestFaults$$' ./plugin/coredns & faults=$$!; \
	$(cluster_tests) -skip '$(agreement)|^TestFaults$$' ./plugin/coredns ./plugin/deploy; others=$$?; \
	wait $$faults && exit $$others

# Tests the server with another version of Kubernetes: a minor one, such as 1.31, or a full
# one. The first run builds that control plane.
compat: tools build resolvers
	@echo "== tests with Kubernetes $(or $(VERSION),$(error give a version: make compat VERSION=1.31))"
	export CLUSTER_BIN && CLUSTER_BIN=$$(testdata/cluster/build.sh $(VERSION)) && \
		$(cluster_tests) -v -skip '$(agreement)' ./plugin/coredns

# The unit tests compare 1,000 random clusters and 40 clustersets, each of which takes as long as
# ten clusters; this compares more, from another seed.
differential:
	DIFFERENTIAL_CLUSTERS=$(CLUSTERS) DIFFERENTIAL_SEED=$(SEED) \
		go test -count=1 -timeout 0 -v -run '^TestDifferential$$' ./plugin/coredns
	DIFFERENTIAL_CLUSTERS=$$(($(CLUSTERS) / 10)) DIFFERENTIAL_SEED=$(SEED) \
		go test -count=1 -timeout 0 -v -run '^TestDifferentialImports$$' ./plugin/coredns

# The unit tests run histories of 400,000 events; these are longer, from another seed.
histories:
	HISTORY_EVENTS=$(EVENTS) HISTORY_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestHistory' ./informer

# Runs every fuzz target, or only TARGET, for FUZZTIME each. Go writes findings to
# testdata/fuzz of the package. FUZZTIME can be a number of executions, such as 20000x:
# Go sometimes reports the end of a time as an error. Minimizing inputs that widen the
# coverage would take most of the time, so -fuzzminimizetime limits it.
fastpath:
	FASTPATH_QUERIES=$(QUERIES) FASTPATH_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestFastPathEqualsChain$$' .

fuzz_targets = $(sort $(shell grep -ro '^func Fuzz[A-Za-z]*' --include=*_test.go . | sed 's|/[^/]*:func |:|'))
fuzz:
	@targets='$(if $(TARGET),$(filter %:$(TARGET),$(fuzz_targets)),$(fuzz_targets))'; \
	[ -n "$$targets" ] || { echo "make fuzz: no $(TARGET) in $(fuzz_targets)" >&2; exit 1; }; \
	for target in $$targets; do \
		echo "== fuzzing $${target#*:} for $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $${target%:*} || exit; \
	done

# Runs a server on a Kubernetes whose pods and services change all the time, for DURATION.
# The start, the warm-up and an end without changes take about two minutes more.
soak: programs = dnsperf:dnsperf openssl:openssl
soak: tools build
	@echo "== soak test"
	testdata/cluster/build.sh
	HEADLESS_COREDNS=$(CURDIR)/coredns SOAK_DURATION=$(DURATION) SOAK_PODS=$(PODS) \
		go test -tags soak -count=1 -timeout 0 -v -run '^TestSoak$$' ./plugin/soak

# Builds the benchmarks in a folder that ends with the shell.
benchmarks = set -e -o pipefail; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	export HEADLESS_COREDNS=$(CURDIR)/coredns; \
	go test -c -o "$$dir/bench" ./plugin/bench

# Compares whole servers. A round takes about a minute, and has new processes.
compare = for round in $$(seq $(ROUNDS)); do ROUND=$$round "$$dir/bench" -test.run '^$$' -test.timeout 10m \
	-test.bench '^BenchmarkServers$$' -test.benchtime 1x; done

# Takes less than twelve minutes on two cores, ROUNDS of them to compare servers. The rounds
# alternate, as a machine may get slower meanwhile. The results are in bench.txt, for
# benchstat, and docs/performance.md.
bench: programs = dnsperf:dnsperf gnuplot:gnuplot-nox
bench: SHELL = /bin/bash
bench: tools build knot
	@echo "== benchmarks"
	@$(benchmarks); \
	bench() { "$$dir/bench" -test.run '^$$' -test.timeout 10m -test.bench "$$1" -test.benchtime "$$2" -test.count "$$3"; }; \
	{ \
		go test -run '^$$' -bench . -benchmem -benchtime 100ms ./records; \
		go test -run '^$$' -bench . -benchmem -benchtime 200ms -count 3 ./informer/...; \
		for round in 1 2 3; do bench ServeDNS 60ms 2; bench 'Process|Watch|Burst' 1x 1; done; \
		bench Scale 1x 1; \
		$(compare); \
	} | tee bench.txt
	go run ./plugin/bench -revision $(or $(version),unknown) bench.txt docs/performance.md plugin/bench

# Only compares whole servers, and prints the tables of servers.txt.
servers: programs = dnsperf:dnsperf
servers: SHELL = /bin/bash
servers: tools build knot
	@echo "== benchmarks of whole servers"
	@$(benchmarks); \
	{ $(compare); } | tee servers.txt
	go run ./plugin/bench -report servers -revision $(or $(version),unknown) servers.txt

# Takes about ten minutes on two cores, and 6 GB for the stand-in API server. The machine
# must be idle: the server has one core, and must not share it.
growth: programs = gnuplot:gnuplot-nox
growth: SHELL = /bin/bash
growth: tools build
	@echo "== benchmarks of clusters that grow"
	@$(benchmarks); \
	"$$dir/bench" -test.run '^$$' -test.timeout 30m -test.bench '^BenchmarkGrowth$$' \
		-test.benchtime 1x | tee growth.txt
	go run ./plugin/bench -report growth -revision $(or $(version),unknown) growth.txt docs/performance.md plugin/bench

# Takes about fifteen minutes on two cores. The machine should do nothing else meanwhile.
rendezvous: programs = openssl:openssl
rendezvous: SHELL = /bin/bash
rendezvous: tools build
	@echo "== pods that look each other up"
	testdata/cluster/build.sh
	set -o pipefail; HEADLESS_COREDNS=$(CURDIR)/coredns go test -tags cluster -run '^$$' -timeout 40m -bench '^BenchmarkRendezvous$$' \
		-benchtime 1x ./plugin/rendezvous | tee rendezvous.txt
	go run ./plugin/bench -report rendezvous -revision $(or $(version),unknown) rendezvous.txt docs/performance.md

# Takes five minutes on two cores, as a reflector that is disconnected again and again
# backs off. Relist: a server with little memory relists 100,000 pods; the benchmark
# reports its memory and latency, and fails if it exceeds its limits. Offline: how soon a
# server that starts from a snapshot, without the API server, answers.
relist: programs = dnsperf:dnsperf
relist: tools build
	@echo "== relists"
	HEADLESS_COREDNS=$(CURDIR)/coredns go test -run '^$$' -timeout 10m -bench '^Benchmark(Offline|Relist)$$' -benchtime 1x ./plugin/bench

# Measures what hostile clients take from another client, and what a tenant's objects cost.
hostile: programs = dnsperf:dnsperf
hostile: tools build
	@echo "== hostile clients"
	HEADLESS_COREDNS=$(CURDIR)/coredns go test -run '^$$' -timeout 10m -bench '^BenchmarkHostile$$' -benchtime 1x ./plugin/bench
	@echo "== hostile objects"
	go test -run '^$$' -timeout 10m -bench '^BenchmarkTenant$$' -benchtime 1x ./informer

# Builds the image with Docker if its daemon runs, else with buildah. With
# PLATFORMS=linux/amd64,linux/arm64, buildah makes a manifest with an image for each.
# "docker build ." also builds an image.
comma = ,
image: programs = setcap:libcap2-bin update-ca-certificates:ca-certificates \
	$(if $(findstring $(comma),$(PLATFORMS)),buildah:buildah,$(shell docker info >/dev/null 2>&1 || echo buildah:buildah))
image_programs = $(if $(PLATFORMS),$(patsubst linux/%,coredns-%,$(subst $(comma), ,$(PLATFORMS))),coredns)
image: tools $(if $(PLATFORMS),$(image_programs),build)
	plugin/image.sh $(IMAGE) '$(ARCHIVE)' $(image_programs)

# Puts the archives of a release, their checksums and the release notes into release/.
release: $(platforms:%=coredns-%)
	plugin/release.sh $(version) $^

# Writes the PrometheusRule from rules.yaml, as Kustomize reads no file of another folder.
rule = plugin/deploy/monitoring/prometheusrule/prometheusrule.yaml
generate:
	@{ printf '%s\n' '# Written by make generate from ../rules.yaml. Edit that file.' 'apiVersion: monitoring.coreos.com/v1' 'kind: PrometheusRule' \
		'metadata:' '  name: headless' '  namespace: kube-system' '  labels:' '    app.kubernetes.io/name: headless' 'spec:' && \
		sed 's/^./  &/' plugin/deploy/monitoring/rules.yaml; } >$(rule).new && mv $(rule).new $(rule)

# Two builds of one commit must be identical.
reproducible:
	@echo "== reproducible build"
	plugin/reproducible.sh

# Takes about nine minutes on two cores once Kubernetes is built. It needs root, and a
# kernel that can run a node within namespaces.
e2e: e2e-check build
	@echo "== end-to-end test"
	testdata/cluster/build.sh
	HEADLESS_COREDNS=$(CURDIR)/coredns go test -tags e2e -count=1 -timeout 20m -v ./plugin/e2e

# Checks whether this machine can run the end-to-end test.
e2e-check: programs = setcap:libcap2-bin update-ca-certificates:ca-certificates buildah:buildah \
	runc:runc /usr/lib/cni/bridge:containernetworking-plugins nft:nftables ip:iproute2 sysctl:procps \
	busybox:busybox-static dig:dnsutils openssl:openssl
e2e-check: daemon_programs = containerd:containerd
e2e-check: tools daemons
	testdata/cluster/check.sh

clean:
	rm -rf coredns coredns-amd64 coredns-arm64 release
