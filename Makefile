# make setup   the environment in .venv and the models for the demo (needs a network)
# make demo    adapt a model to public mail, or to yours: make demo MAIL=path/to.mbox
# make test    all tests; make test-fast: those that need no model, in two minutes
# make docs    the site in site/, from docs/ and the code
# make sbom    what is installed, as CycloneDX; make audit: its known vulnerabilities (needs a network)
# make lint    make bench    make clean
#
# PYTHON=python3.12 chooses the interpreter. CUSTOMIR_MODELS is the models' folder, outside the
# tree by default. pip's and npm's own settings (a mirror, a proxy) hold.
#
# llama.cpp is compiled for the processor of this machine, by all its cores. For an environment or a
# wheel that travels to others: PIP_NO_CACHE_DIR=1 CMAKE_ARGS=-DGGML_NATIVE=OFF make setup
# (pip keeps what it built, and would take it from there whatever CMAKE_ARGS says).
# LLAMA_CPP_LIB_PATH=/folder/of/libllama make setup compiles nothing and uses that llama.cpp, which
# has to be of version $(LLAMA_CPP). llama_cpp reads the variable whenever it is imported: keep it set.

SHELL = bash
.SHELLFLAGS = -o pipefail -c

MAIL =
# So much public mail has more than a thousand pairs of its own to train on (demo/customir.toml).
MESSAGES = 1100
DEMO_MAIL = $(or $(MAIL),demo/mail.mbox)
# Mail of your own has a workspace of its own, by the file's name.
DEMO_OUT = demo/out$(if $(MAIL),-$(shell basename "$(MAIL)" .mbox | tr -c 'A-Za-z0-9._\n-' -))

PYTHON = $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
SUITABLE = import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
BIN = .venv/bin
# Of llama.cpp, which can't share AMX with torch (docs/explanation/llm-engine.md).
WITHOUT_AMX = -U__AMX_TILE__ -U__AMX_INT8__ -U__AMX_BF16__
# The version of llama.cpp that the pinned llama-cpp-python was written for.
LLAMA_CPP = 0.5.0
LLAMA_CPP_ARGS = $(if $(LLAMA_CPP_LIB_PATH),-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF,-DCMAKE_PROJECT_llama_cpp_INCLUDE="$(CURDIR)/llama-cpp.cmake")
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# A file's tests share what they make, so a file stays in one process. Threads that wait do not spin:
# the processes have the same cores.
PYTEST = OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# Stamps: what is done is not looked at again until the files that it was made from change.
INSTALLED = .venv/stamp-installed
DEVELOPING = .venv/stamp-developing
model = .venv/stamp-model-$(1)
TEST_MODELS = $(call model,minilm) $(call model,smollm2-135m)
DEMO_MODELS = $(call model,minilm) $(call model,qwen2.5-coder-0.5b)

.PHONY: setup demo test test-fast lint docs sbom audit bench clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

setup: $(INSTALLED) $(DEMO_MODELS)

# The demo needs these; tests, lint, documentation and measurements need more.
EXTRAS = adapt,formats,serve
$(DEVELOPING): EXTRAS = adapt,formats,serve,dev,docs

$(INSTALLED) $(DEVELOPING): pyproject.toml constraints.txt
	@test -n "$(LLAMA_CPP_LIB_PATH)" || command -v c++ || command -v g++ || command -v clang++ || \
		{ echo "A C++ compiler is needed to build llama.cpp, and there is none"; exit 1; } >&2
	@test -x $(BIN)/pip || test -n "$(PYTHON)" || \
		{ echo "Python 3.11 to 3.13 with venv is needed; say where: make $(MAKECMDGOALS) PYTHON=..."; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@# First and alone, so that of all that pip would say only the progress is shown.
	CFLAGS="$(WITHOUT_AMX) $(CFLAGS)" CXXFLAGS="$(WITHOUT_AMX) $(CXXFLAGS)" \
		$(if $(LLAMA_CPP_LIB_PATH),PIP_NO_CACHE_DIR=1) \
		CMAKE_ARGS='$(LLAMA_CPP_ARGS) $(CMAKE_ARGS)' NINJA_STATUS="llama.cpp %p compiled " \
		$(PIP_INSTALL) --verbose --no-deps llama-cpp-python 2>&1 | tee .venv/llama-cpp.log | \
		grep --line-buffered -oE "^ *llama.cpp +[0-9]+% compiled|(Downloading|Successfully installed|Requirement already satisfied:) llama.*" || \
		{ tail -40 .venv/llama-cpp.log; echo "llama.cpp could not be installed: .venv/llama-cpp.log says why"; exit 1; } >&2
	@echo "Next: all other packages, and at their end CustomIR's own kernels, whose compilation takes a minute or two in silence"
	$(PIP_INSTALL) -e ".[$(EXTRAS)]"
	@test -z "$(LLAMA_CPP_LIB_PATH)" || \
		$(BIN)/python -c 'import llama_cpp as l; assert l.llama_version().startswith(b"$(LLAMA_CPP)"), l.llama_version()' || \
		{ echo "LLAMA_CPP_LIB_PATH has to name the folder of libllama of llama.cpp $(LLAMA_CPP)"; exit 1; } >&2
	@touch $@ $(INSTALLED)

$(call model,%): customir/models/registry.toml | $(INSTALLED)
	$(BIN)/customir models fetch $*
	@touch $@

demo: $(DEMO_MODELS) $(if $(MAIL),,demo/mail.mbox)
	@umask 077; mkdir -p "$(DEMO_OUT)"; test -e "$(DEMO_OUT)/customir.toml" || cp demo/customir.toml "$(DEMO_OUT)"
	$(BIN)/customir adapt "$(DEMO_MAIL)" --out "$(DEMO_OUT)"

demo/mail.mbox: demo/fetch_mail.py Makefile | $(INSTALLED)
	$(BIN)/python demo/fetch_mail.py $@ --messages $(MESSAGES)

test: $(DEVELOPING) $(TEST_MODELS)
	$(PYTEST)

test-fast: $(DEVELOPING)
	$(PYTEST) -m "not model and not slow"

docs: $(DEVELOPING)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lint: $(DEVELOPING)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy customir kernels exporters

# The tools have an environment of their own, so that they are not among what is listed.
sbom: $(INSTALLED)
	@mkdir -p build
	test -x build/release/bin/pip || $(BIN)/python -m venv build/release
	build/release/bin/pip install --disable-pip-version-check -q cyclonedx-bom==7.5.0 pip-audit==2.10.1
	build/release/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
		--mc-type application -o build/sbom.json $(BIN)/python

audit: sbom
	build/release/bin/pip-audit --disable-pip --no-deps -r constraints.txt

bench: $(DEVELOPING) $(TEST_MODELS) $(DEMO_MODELS)
	$(PIP_INSTALL) -q -e ".[bench]"
	@set -e; for script in bench/*.py; do echo "$$script --quick"; $(BIN)/python $$script --quick; done

# The environment and the models stay: they take long to make again.
clean:
	rm -rf demo/out demo/out-* demo/mail.mbox site build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
