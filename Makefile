# make setup   the environment in .venv and the models for tests and demo (needs a network)
# make demo    adapt a model to public mail, or to yours: make demo MAIL=path/to.mbox
# make test    all tests; make test-fast: those that need no model, in two minutes
# make docs    the site in site/, from docs/ and the code
# make lint    make bench    make clean
#
# PYTHON=python3.12 chooses the interpreter. CUSTOMIR_MODELS is the models' folder, outside the
# tree by default. pip's and npm's own settings (a mirror, a proxy) hold.
#
# llama.cpp is compiled for the processor of this machine. For an environment or a wheel that
# travels to others: PIP_NO_CACHE_DIR=1 CMAKE_ARGS=-DGGML_NATIVE=OFF make setup
# (pip keeps what it built, and would take it from there whatever CMAKE_ARGS says).

MAIL =
PASSAGES = 180
QUERIES = 4
DEMO_MAIL = $(or $(MAIL),demo/mail.mbox)
# Mail of your own has a workspace of its own, by the file's name.
DEMO_OUT = demo/out$(if $(MAIL),-$(shell basename "$(MAIL)" .mbox | tr -c 'A-Za-z0-9._\n-' -))

PYTHON = $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
SUITABLE = import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
BIN = .venv/bin
# Of llama.cpp, which can't share AMX with torch (docs/explanation/llm-engine.md).
WITHOUT_AMX = -U__AMX_TILE__ -U__AMX_INT8__ -U__AMX_BF16__

# Stamps: what is done is not looked at again until the files that it was made from change.
INSTALLED = .venv/stamp-installed
model = .venv/stamp-model-$(1)
TEST_MODELS = $(call model,minilm) $(call model,smollm2-135m)
DEMO_MODELS = $(call model,minilm) $(call model,qwen2.5-coder-0.5b)

.PHONY: setup demo test test-fast lint docs bench clean
.DELETE_ON_ERROR:

setup: $(INSTALLED) $(TEST_MODELS) $(DEMO_MODELS)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v c++ || command -v g++ || command -v clang++ || \
		{ echo "A C++ compiler is needed to build llama.cpp, and there is none"; exit 1; } >&2
	@test -x $(BIN)/pip || test -n "$(PYTHON)" || \
		{ echo "Python 3.11 to 3.13 with venv is needed; say where: make $(MAKECMDGOALS) PYTHON=..."; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing. Where pip has no built llama.cpp at hand it compiles it: 5 to 8 minutes without a word."
	CFLAGS="$(WITHOUT_AMX) $(CFLAGS)" CXXFLAGS="$(WITHOUT_AMX) $(CXXFLAGS)" \
		$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[adapt,formats,serve,dev,docs]"
	@touch $@

$(call model,%): customir/models/registry.toml | $(INSTALLED)
	$(BIN)/customir models fetch $*
	@touch $@

demo: $(DEMO_MODELS) $(if $(MAIL),,demo/mail.mbox)
	$(BIN)/customir adapt "$(DEMO_MAIL)" --out "$(DEMO_OUT)" --embedder minilm --llm qwen2.5-coder-0.5b --passages $(PASSAGES) --queries $(QUERIES)
	@set -e; queries=$$($(if $(MAIL),$(BIN)/python demo/searches.py "$(DEMO_OUT)",cat demo/searches.txt)); \
	echo "$$queries" | while IFS= read -r query; do \
		echo; echo "$$ customir search $(DEMO_OUT) \"$$query\""; \
		$(BIN)/customir search "$(DEMO_OUT)" "$$query" -k 3 </dev/null; \
	done

demo/mail.mbox: demo/fetch_mail.py | $(INSTALLED)
	$(BIN)/python demo/fetch_mail.py $@ --messages 500

test: $(TEST_MODELS)
	$(BIN)/python -m pytest

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -m "not model and not slow"

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy customir kernels exporters

bench: $(TEST_MODELS) $(DEMO_MODELS)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[bench]"
	@set -e; for script in bench/*.py; do echo "$$script --quick"; $(BIN)/python $$script --quick; done

# The environment and the models stay: they take long to make again.
clean:
	rm -rf demo/out demo/out-* demo/mail.mbox site build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
