# The commands of the project. The work is done by scripts/, the compiling by Meson and ninja.

PREFIX ?= /usr/local
NEXUS = build/release/nexus
DATA_DIR = $(or $(NEXUS_DATA_DIR),$(or $(XDG_DATA_HOME),$(HOME)/.local/share)/nexus)
installed = $(DESTDIR)$(PREFIX)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

run: ## Install what is missing, build, detect in a sample picture, serve (PORT=, SAMPLE=)
	@PORT="$(PORT)" SAMPLE="$(SAMPLE)" scripts/run

build: ## Build build/release/nexus
	@scripts/bootstrap run
	@scripts/fetch header
	@scripts/web
	@scripts/build release

test: ## Run every test, sanitizers and all (PHASES="unit e2e": these only)
	@command -v python3 >/dev/null || scripts/bootstrap test # what runs the tests is Python
	@tests/run $(PHASES)

bench: build ## Measure speed and print the tables
	@scripts/bootstrap bench
	@bench/run

fuzz: ## Run each fuzz target for 60 s (SECONDS=)
	@scripts/build fuzz
	@scripts/fuzz $(or $(SECONDS),60)

contract: build ## Ask for every operation of openapi.yaml in every way for 60 s (SECONDS=, SEED=)
	@scripts/packages tests/e2e
	@NEXUS_TEST_SECONDS=$(or $(SECONDS),60) NEXUS_TEST_SEED=$(or $(SEED),1) node --test tests/e2e/contract.test.mjs

coverage: ## Measure the coverage of the tests (TESTS=unit: of the unit tests alone, report: again)
	@scripts/coverage $(TESTS)

format: ## Lay out the C files
	@scripts/format

check-format: ## Check the layout of the C files
	@scripts/format --check

lint: check-format ## Check layout, includes, shell scripts and names
	@tests/check_includes.sh
	@tests/check_shell.sh
	@tests/check_names.sh

tidy: ## Run clang-tidy
	@scripts/build clang
	@scripts/tidy --deep

compile_commands.json: ## Tell editors how files are compiled
	@scripts/build clang
	@ln -sf build/clang/compile_commands.json $@

hooks: ## Check each commit before it is made
	@ln -sf "$(CURDIR)/scripts/pre-commit" "$$(git rev-parse --git-path hooks)/pre-commit"

install: ## Install program, ONNX Runtime, manual page and completions (PREFIX=, DESTDIR=)
	@test -x $(NEXUS) || { echo "There is no $(NEXUS) yet: run make build first." >&2; exit 1; }
	install -D -m 755 $(NEXUS) "$(installed)/bin/nexus"
	if [ -f "$(DATA_DIR)/lib/libonnxruntime.so.1" ]; then install -D -m 644 \
	    "$(DATA_DIR)/lib/libonnxruntime.so.1" "$(installed)/lib/nexus/libonnxruntime.so.1"; fi
	install -d "$(installed)/share/man/man1" "$(installed)/share/bash-completion/completions" \
	    "$(installed)/share/zsh/site-functions" "$(installed)/share/fish/vendor_completions.d"
	$(NEXUS) help --man > "$(installed)/share/man/man1/nexus.1"
	$(NEXUS) completion bash > "$(installed)/share/bash-completion/completions/nexus"
	$(NEXUS) completion zsh > "$(installed)/share/zsh/site-functions/_nexus"
	$(NEXUS) completion fish > "$(installed)/share/fish/vendor_completions.d/nexus.fish"

deb: build ## Make build/nexus_VERSION_ARCHITECTURE.deb
	@scripts/bootstrap deb
	@scripts/fetch ort
	@scripts/deb

sbom: build ## Make build/nexus.cdx.json: what the program is made of (CycloneDX)
	@scripts/sbom

clean: ## Remove what was built
	rm -rf build web/dist compile_commands.json tests/artifacts

distclean: clean ## Remove what was built and the npm packages too
	rm -rf web/node_modules tests/e2e/node_modules

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z_.-]+:.*## / { printf "  make %-22s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run build test bench fuzz contract coverage format check-format lint tidy hooks install deb sbom clean \
    distclean help compile_commands.json
