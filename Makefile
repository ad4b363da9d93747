# Two commands do all the set-up: `make demo` and `make test`.

# The image that is built, pushed and deployed.
IMG ?= controller:latest
# What builds and pushes it: docker, podman ...
CONTAINER_TOOL ?= docker
# What docker-buildx builds for.
PLATFORMS ?= linux/arm64,linux/amd64
KUBECTL ?= kubectl
KUSTOMIZE ?= $(KUBECTL) kustomize
KIND_CLUSTER ?= evc-test-e2e
KIND_KUBECONFIG = $(CURDIR)/dist/$(KIND_CLUSTER).kubeconfig
# Where the e2e tests run: local, node or kind.
CLUSTER ?= local
# Tests that need no more than a cluster on which the operator is deployed; volumes of a kind
# cluster are not bound before their first pod, which some of them wait for.
NODE_TESTS = test_lifecycle.py test_outcomes.py test_owners.py test_downtime.py test_protection.py real_node
KIND_TESTS = test_api.py real_node/test_real_pods.py
NODE_PACKAGES = containerd runc containernetworking-plugins busybox-static iproute2
# For the image, which is built from Debian's packages and pushed to a registry of the run's own.
NODE_PACKAGES += buildah debootstrap docker-registry
NODE_PROGRAMS = containerd runc busybox ip buildah debootstrap docker-registry
SHELL = /usr/bin/env bash -o pipefail
.SHELLFLAGS = -ec

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BENCH_VENV = build/bench-venv
# What is delivered, and nothing else: the SBOM and the licences are read from here, and the
# benchmarks run it.
DELIVERED = build/run-venv
LIVES ?= 10000
CORES ?= $(shell nproc)
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header
export PYTHONPATH = src:test

# Programs that are no Python packages, and their versions.
LOCALBIN ?= $(CURDIR)/bin
KUBE_SCORE_VERSION ?= v1.20.0
KUBE_SCORE ?= $(LOCALBIN)/kube-score-$(KUBE_SCORE_VERSION)
KIND_VERSION ?= v0.33.0
KIND ?= $(LOCALBIN)/kind-$(KIND_VERSION)
ACTIONLINT_VERSION ?= v1.7.12
ACTIONLINT ?= $(LOCALBIN)/actionlint-$(ACTIONLINT_VERSION)

.PHONY: all
all: help

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "\nUsage:\n  make \033[36m<target>\033[0m\n"} /^[a-zA-Z_0-9-]+:.*?##/ { printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2 } /^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } ' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.ready ## Watch claims live and die on a local control plane (KEEP=1 leaves it up).
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

##@ Development

.PHONY: test
test: test-unit test-e2e ## Run all tests that need neither root nor Docker: both of the following.

.PHONY: test-unit
test-unit: $(VENV)/.ready ## Run the unit tests and some simulated lives (no control plane).
	$(BIN)/python -m pytest test/unit test/sim test/seeded_bugs -n $(CORES) $(PYTEST_ARGS)

.PHONY: simulate
simulate: $(VENV)/.ready ## Simulate LIVES=10000 random lives with faults; prints seed@commit of a bad one.
	SIM_LIVES=$(LIVES) $(BIN)/python -m pytest test/sim/test_lives.py -s --timeout=1200

.PHONY: seeded-bugs
seeded-bugs: $(VENV)/.ready ## Show that each seeded bug is caught, and by what.
	$(BIN)/python -m seeded_bugs

.PHONY: test-e2e e2e
test-e2e: test-e2e-$(CLUSTER) ## Run the e2e tests on CLUSTER=local (default), node (a real kubelet; root) or kind (Docker).
e2e: test-e2e

# They mostly wait, so twice as many as cores.
.PHONY: test-e2e-local
test-e2e-local: $(VENV)/.ready
	@$(BIN)/python -m cluster build
	$(BIN)/python -m pytest test/e2e -n $$((2 * $(CORES))) $(PYTEST_ARGS)

# The image is built as docs/release.md tells. The node's network has no way out: a second build
# there finds unchanged all that came from elsewhere.
.PHONY: test-e2e-node
test-e2e-node: $(VENV)/.ready node-packages
	@$(BIN)/python -m cluster node --before "$(BIN)/python -m e2e.image" -- make --no-print-directory \
		docker-build docker-push test-e2e-deployed IMG=registry.example.com/evc:e2e TESTS="$(NODE_TESTS)"

.PHONY: test-e2e-kind
test-e2e-kind: $(VENV)/.ready docker-build setup-test-e2e
	$(CONTAINER_TOOL) pull --quiet busybox
	$(KIND) load docker-image --name $(KIND_CLUSTER) $(IMG) busybox
	$(MAKE) --no-print-directory test-e2e-deployed TESTS="$(KIND_TESTS)" KUBECONFIG=$(KIND_KUBECONFIG) || { $(MAKE) cleanup-test-e2e; exit 1; }
	$(MAKE) cleanup-test-e2e

# On the cluster of KUBECONFIG, as they are deployed there. Nothing may run beside a disruptive test.
.PHONY: test-e2e-deployed
test-e2e-deployed: deploy
	$(KUBECTL) rollout status -n evc-system deployment/evc-controller-manager --timeout=3m
	$(ON_GIVEN) -m "not disruptive" -n 6
	$(ON_GIVEN) -m disruptive
ON_GIVEN = $(BIN)/python -m pytest $(TESTS:%=test/e2e/%) --kubeconfig=$(KUBECONFIG) $(AUDIT_LOG:%=--audit-log=%) $(PYTEST_ARGS)

.PHONY: setup-test-e2e
setup-test-e2e: $(KIND) ## Create the kind cluster KIND_CLUSTER unless it is there (KIND_IMAGE=kindest/node:... chooses its version).
	$(KIND) get clusters | grep -qx $(KIND_CLUSTER) || $(KIND) create cluster --name $(KIND_CLUSTER) $(KIND_IMAGE:%=--image=%) --wait 3m
	@mkdir -p $(dir $(KIND_KUBECONFIG))
	$(KIND) export kubeconfig --name $(KIND_CLUSTER) --kubeconfig $(KIND_KUBECONFIG)

.PHONY: cleanup-test-e2e
cleanup-test-e2e: $(KIND) ## Delete that kind cluster.
	$(KIND) delete cluster --name $(KIND_CLUSTER) --kubeconfig $(KIND_KUBECONFIG)

.PHONY: node-packages
node-packages:
	@{ $(foreach program,$(NODE_PROGRAMS),command -v $(program) &&) { test -d /usr/lib/cni || test -d /opt/cni/bin; }; } >/dev/null || { \
		test "$$(id -u)" = 0 || { echo "A real node needs root, and the packages: $(NODE_PACKAGES)"; exit 1; }; \
		echo "Installing $(NODE_PACKAGES)"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(NODE_PACKAGES) >/dev/null; \
	}

.PHONY: bench
bench: $(VENV)/.ready $(BENCH_VENV)/.ready $(DELIVERED)/.ready ## Run the benchmarks beside their peers (BENCH=B1,B4 selects, BENCH_QUICK=1 is a smoke test).
	@$(BIN)/python -m cluster build
	@$(BIN)/python -m bench

.PHONY: fault-plans
fault-plans: $(VENV)/.ready ## Let everything go wrong once between operator and API server (15 minutes).
	@$(BIN)/python -m cluster build
	$(BIN)/python -m pytest test/faults -q $(PYTEST_ARGS)

.PHONY: soak
soak: $(VENV)/.ready ## Let SOAK_LIVES=20000 claims live and die, in MINUTES=60 at most; nothing may grow.
	@$(BIN)/python -m cluster build
	$(BIN)/python -m soak --lives $(or $(SOAK_LIVES),20000) --minutes $(or $(MINUTES),60)

.PHONY: manifests
manifests: $(VENV)/.ready ## Generate the CustomResourceDefinition from the msgspec types.
	$(BIN)/evc crd > config/crd/bases/evc.dev_ephemeralvolumeclaims.yaml

.PHONY: docs
docs: $(VENV)/.ready ## Generate the reference pages in docs/reference and the Grafana dashboard from the code.
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/dashboard.py

PLAIN_RULES = import sys, yaml; yaml.safe_dump(yaml.safe_load(sys.stdin)["spec"], sys.stdout, sort_keys=False)

.PHONY: alerts
alerts: $(VENV)/.ready ## Write the alerts as a plain rule file, dist/alerts.yaml (for a Prometheus without its operator).
	mkdir -p dist
	$(BIN)/python -c '$(PLAIN_RULES)' < config/prometheus/rules.yaml > dist/alerts.yaml

.PHONY: lint-alerts
lint-alerts: alerts ## Check and test the alerts (promtool, of the package prometheus).
	promtool check rules --lint-fatal dist/alerts.yaml
	cd config/prometheus/tests && promtool test rules alerts.yaml

.PHONY: fmt
fmt: $(VENV)/.ready ## Format the code.
	$(BIN)/ruff format src test docs image bench
	$(BIN)/ruff check --fix --quiet src test docs image bench

.PHONY: lint
lint: $(VENV)/.ready ## Check format, style and the layers between the rooms; change nothing.
	$(BIN)/ruff format --check src test docs image bench
	$(BIN)/ruff check src test docs image bench
	$(BIN)/lint-imports --no-logo

# What kube-score would have otherwise, and why not:
# - container-image-pull-policy: IfNotPresent. A release's tag does not move, and a node that has
#   the image starts it without asking a registry.
# - deployment-has-host-podantiaffinity: topologySpreadConstraints spread the two pods instead.
# - pod-networkpolicy: config/network-policy is there to be uncommented, since it lets only
#   labelled namespaces read the metrics, which a default cannot know.
KUBE_SCORE_IGNORED = container-image-pull-policy deployment-has-host-podantiaffinity pod-networkpolicy
KUBE_SCORE_FLAGS = --kubernetes-version v1.37 --exit-one-on-warning --output-format ci \
	--enable-optional-test container-seccomp-profile --enable-optional-test container-ports-check \
	$(addprefix --ignore-test ,$(KUBE_SCORE_IGNORED))

.PHONY: lint-config
lint-config: IMG = controller:v0.1.0
lint-config: kubectl $(KUBE_SCORE) ## Check the manifests that are deployed (kube-score).
	$(RENDER) | $(KUBE_SCORE) score $(KUBE_SCORE_FLAGS) - | { ! grep -v '^\[OK\]\|^\[SKIPPED\]'; }
	$(RENDER_NAMESPACED) | $(KUBE_SCORE) score $(KUBE_SCORE_FLAGS) - | { ! grep -v '^\[OK\]\|^\[SKIPPED\]'; }

.PHONY: lint-workflows
lint-workflows: $(VENV)/.ready $(ACTIONLINT) ## Check the GitHub workflows (actionlint, zizmor).
	$(ACTIONLINT)
	$(BIN)/zizmor --offline --persona=pedantic .github

.PHONY: vet
vet: $(VENV)/.ready ## Check the types (mypy strict).
	$(BIN)/mypy

.PHONY: pin
pin: $(VENV)/.ready ## Pin the newest dependencies, with hashes.
	$(UV_COMPILE) --upgrade pyproject.toml -o requirements/run.txt
	$(UV_COMPILE) --upgrade --group build -o requirements/build.txt
	$(UV_COMPILE) --upgrade pyproject.toml --group dev -o requirements/dev.txt
	$(UV_COMPILE) --upgrade pyproject.toml --group bench -o requirements/bench.txt
	$(UV_COMPILE) --upgrade --group tools -o requirements/tools.txt

##@ Build

.PHONY: build
build: $(VENV)/.ready ## Build the wheel and the source distribution into dist/.
	$(BIN)/python -m hatchling build

.PHONY: run
run: $(VENV)/.ready ## Run the operator from here against the cluster in your kubeconfig.
	$(BIN)/evc run

# PYTHON_IMAGE=... builds on another base image than the Dockerfile's.
IMAGE_ARGS = $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE))

.PHONY: docker-build
docker-build: ## Build the image IMG with CONTAINER_TOOL.
	$(CONTAINER_TOOL) build $(IMAGE_ARGS) -t $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: docker-buildx
docker-buildx: ## Build and push the image for all PLATFORMS.
	-$(CONTAINER_TOOL) buildx create --name evc-builder
	$(CONTAINER_TOOL) buildx use evc-builder
	$(CONTAINER_TOOL) buildx build --push --platform=$(PLATFORMS) $(IMAGE_ARGS) --tag $(IMG) .
	-$(CONTAINER_TOOL) buildx rm evc-builder

.PHONY: build-installer
build-installer: kubectl ## Write all that deploy applies into dist/install.yaml.
	mkdir -p dist
	$(RENDER) > dist/install.yaml

##@ Deployment

ifndef ignore-not-found
  ignore-not-found = false
endif
# Everything that is deployed, with the image that was asked for.
RENDER = $(KUSTOMIZE) config/default | sed 's|image: controller:latest|image: $(IMG)|'

.PHONY: kubectl
kubectl:
	@command -v $(firstword $(KUBECTL)) >/dev/null || { echo "$(firstword $(KUBECTL)) was not found: install it (https://kubernetes.io/docs/tasks/tools/), or say make KUBECTL=/path/to/kubectl"; exit 1; }

.PHONY: install
install: kubectl ## Install the CRD into the cluster in your kubeconfig.
	$(KUSTOMIZE) config/crd | $(KUBECTL) apply -f -

.PHONY: uninstall
uninstall: no-claims ## Remove the CRD; refuses while claims exist (force=true: they and their volumes go, too).
	$(KUSTOMIZE) config/crd | $(KUBECTL) delete --ignore-not-found=$(ignore-not-found) -f -

.PHONY: deploy
deploy: kubectl ## Deploy the operator (IMG=...), with the CRD and the guard, into the cluster in your kubeconfig.
	$(RENDER) | $(KUBECTL) apply -f -

.PHONY: undeploy
ifeq ($(keep-crd),true)
undeploy: kubectl ## Remove all that deploy made; refuses while claims exist (keep-crd=true: leave them and the CRD).
	$(RENDER) | awk 'BEGIN {RS = ORS = "---\n"} !/kind: CustomResourceDefinition/' | $(KUBECTL) delete --ignore-not-found=$(ignore-not-found) -f -
else
undeploy: no-claims
	$(RENDER) | $(KUBECTL) delete --ignore-not-found=$(ignore-not-found) -f -
endif

# Where deploy-namespaced deploys to, and what that operator looks after.
NAMESPACE ?= default
RENDER_NAMESPACED = $(KUSTOMIZE) config/namespaced | sed 's|image: controller:latest|image: $(IMG)|; s|namespace: evc-system|namespace: $(NAMESPACE)|'

.PHONY: deploy-namespaced
deploy-namespaced: kubectl ## Deploy an operator for NAMESPACE only, with Roles in it and no rights on the cluster.
	$(RENDER_NAMESPACED) | $(KUBECTL) apply -f -

.PHONY: undeploy-namespaced
undeploy-namespaced: kubectl ## Remove what deploy-namespaced made; claims and volumes stay.
	$(RENDER_NAMESPACED) | $(KUBECTL) delete --ignore-not-found=$(ignore-not-found) -f -

# Without the CRD all its objects go, and with them the volumes they own. An error is no "none".
.PHONY: no-claims
no-claims: kubectl
ifneq ($(force),true)
	@crd=$$($(KUBECTL) get crd ephemeralvolumeclaims.evc.dev --ignore-not-found -o name); \
	claims=$${crd:+$$($(KUBECTL) get ephemeralvolumeclaims.evc.dev --all-namespaces --no-headers -o custom-columns=:metadata.namespace,:metadata.name)}; \
	test -z "$$claims" || { \
		echo "These EphemeralVolumeClaims still exist, and would go with their volumes:"; \
		echo "$$claims" | awk '{print "  " $$1 "/" $$2}'; \
		echo "Delete them first, or say force=true to have all of that deleted."; \
		echo "make undeploy keep-crd=true removes the operator and leaves them."; \
		exit 1; \
	}
endif

##@ Release

# What releases need, apart from what develops: pinned as well.
TOOLS = build/tools-venv
# Of what is delivered. All may be passed on with an Apache-2.0 program, unchanged.
LICENCES = Apache;BSD;MIT;Mozilla Public License 2.0;MPL-2.0;PSF-2.0;Python Software Foundation License

.PHONY: sbom
sbom: $(TOOLS)/.ready $(DELIVERED)/.ready ## Write the software bill of materials (CycloneDX) to dist/sbom.cdx.json.
	@mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment $(DELIVERED)/bin/python --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-format JSON --validate -o dist/sbom.cdx.json

# --strict: without it, what could not be looked up counts as free of vulnerabilities.
.PHONY: audit
audit: $(TOOLS)/.ready ## Ask the Python advisory database about every pinned run-time dependency.
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/run.txt || { \
		echo "The audit did not pass: either an advisory is listed above, or the advisory database"; \
		echo "(the JSON API of the Python package index) could not be asked, and then nothing is known."; \
		exit 1; \
	}

.PHONY: licences
licences: $(TOOLS)/.ready $(DELIVERED)/.ready ## Check the licences of all that is delivered.
	$(TOOLS)/bin/pip-licenses --python=$(DELIVERED)/bin/python --order=license \
		--partial-match --allow-only='$(LICENCES)'

.PHONY: changelog-draft
changelog-draft: $(TOOLS)/.ready ## Show what the fragments in changelog.d will become.
	@$(TOOLS)/bin/towncrier build --draft --version $(VERSION)

.PHONY: changelog
changelog: $(TOOLS)/.ready ## Move the fragments into CHANGELOG.md, for the release.
	$(TOOLS)/bin/towncrier build --yes --version $(VERSION)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

$(TOOLS)/.ready: requirements/tools.txt
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@touch $@

$(DELIVERED)/.ready: $(VENV)/.ready requirements/run.txt pyproject.toml $(shell find src -type f -name '*.py')
	@rm -rf build/wheel
	@$(PYTHON) -m venv --clear --without-pip $(DELIVERED)
	@$(BIN)/python -m hatchling build -t wheel -d build/wheel
	@$(BIN)/python -m pip --python $(DELIVERED)/bin/python install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip --python $(DELIVERED)/bin/python install --quiet --disable-pip-version-check --no-deps build/wheel/*.whl
	@touch $@

##@ Local control plane

.PHONY: cluster
cluster: $(VENV)/.ready ## Boot a local control plane and print its KUBECONFIG.
	@$(BIN)/python -m cluster up

.PHONY: cluster-down
cluster-down: $(VENV)/.ready ## Stop it and everything it kept.
	@$(BIN)/python -m cluster down

# $(1): the program, $(2): its Go package, $(3): the version.
define go-program
$(LOCALBIN)/$(1)-$(3):
	@command -v go >/dev/null || { echo "go, which builds $(1), was not found: install it (https://go.dev/doc/install)"; exit 1; }
	GOBIN=$(LOCALBIN) go install $(2)@$(3)
	mv $(LOCALBIN)/$(1) $$@
endef
$(eval $(call go-program,kube-score,github.com/zegl/kube-score/cmd/kube-score,$(KUBE_SCORE_VERSION)))
$(eval $(call go-program,kind,sigs.k8s.io/kind,$(KIND_VERSION)))
$(eval $(call go-program,actionlint,github.com/rhysd/actionlint/cmd/actionlint,$(ACTIONLINT_VERSION)))

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: say make PYTHON=python3.12, for example"; exit 1; }
	@echo "Setting up $(VENV) (once, about half a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(BENCH_VENV)/.ready: requirements/bench.txt
	@echo "Setting up $(BENCH_VENV) with the peers (once)"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@
