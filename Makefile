# The few commands that a person types; the builds themselves are CMake's (see CMakePresets.json).
# Every target installs what it needs, when it is missing, through tools/install-deps.

.DEFAULT_GOAL := release
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: release dev demo test e2e differential torture soak asan tsan tidy fuzz bench scenarios microbench install package fixtures clean help

help: ## what there is
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

release: ## build/release/varve
	@tools/install-deps build
	@.ci/build release $(JOBS)

dev: ## the developers' build, with its tests
	@tools/install-deps build
	@.ci/build dev $(JOBS)

demo: ## builds a real web application twice, shows the cache at work, runs the image
	@tools/install-deps build demo
	@.ci/build release $(JOBS)
	@examples/demo

test: ## every test; the last line is the count over all of them
	@tools/install-deps build test
	@.ci/test $(JOBS)

e2e: dev ## the e2e tests alone
	@tools/install-deps test
	@tests/e2e/run

differential: dev ## the Dockerfile language beside recorded answers of docker's BuildKit
	@tools/install-deps test
	@tests/differential/run

torture: dev ## random projects, edits, evictions, kills and flipped bits against builds without cache
	@tools/install-deps test
	@tests/torture/run

soak: ## the tests that need many rounds to fail: random builds, kill -9, many builds at once
	@tools/install-deps build test
	@.ci/build dev $(JOBS)
	@.ci/soak

asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/install-deps build test sanitize
	@.ci/sanitize asan-ubsan $(JOBS)

tsan: ## every test under ThreadSanitizer
	@tools/install-deps build test sanitize
	@.ci/sanitize tsan $(JOBS)

tidy: ## clang-tidy over the whole tree
	@tools/install-deps build tidy
	@.ci/build tidy $(JOBS)

fuzz: ## each fuzz target for a minute (SECONDS_EACH=N for longer)
	@tools/install-deps build fuzz
	@.ci/build fuzz $(JOBS)
	@.ci/fuzz

bench: ## varve beside the builders that this machine has (BENCH='--quick', '--rows noop', …)
	@tools/install-deps build bench
	@.ci/build release $(JOBS)
	@bench/run $(BENCH)

scenarios: ## five teams and what they expect of a cache, beside other builders (SCENARIOS='s1', '--quick', …)
	@tools/install-deps build bench demo
	@.ci/build release $(JOBS)
	@scenarios/run-all $(SCENARIOS)

microbench: ## SHA-256, tar, codecs, context walk, keys, plans and look-ups, each on its own
	@tools/install-deps build
	@.ci/build bench $(JOBS)
	@build/bench/bench/varve_bench

install: ## into PREFIX, /usr/local
	@tools/install-deps build run
	@.ci/build release $(JOBS)
	@cmake --install build/release --prefix $(PREFIX) --strip

package: ## a .deb under build/release
	@tools/install-deps build package
	@.ci/build release $(JOBS)
	@cd build/release && cpack -G DEB

fixtures: ## the look-alikes of base images, into the cache folder
	@fixtures/make-images

clean: ## removes build/; the fixture cache stays (fixtures/make-images --where)
	@rm -rf build
