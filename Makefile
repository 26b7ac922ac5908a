# One line of help per target: the text behind "##".
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

SHELL := /bin/sh

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- What the tests run against -----------------------------------------------------------------------------------------
# parts.sh knows by itself what is there already (versions and checksums are beside it), so these are cheap to depend on.

.PHONY: test-parts
test-parts: part-dynamodblocal part-python part-emulator ## Fetch what the tests run against into .cache/

.PHONY: part-dynamodblocal part-python part-emulator
part-dynamodblocal part-python part-emulator: part-%:
	@extension/internal/testenv/parts.sh $*

# For targets that go on without a missing part and let the tests say what they skipped; with CI=true it has to be there.
.PHONY: try-test-parts
try-test-parts:
	@$(MAKE) --no-print-directory -k test-parts || [ "$$CI" != true ]

# --- Cleaning -----------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## Remove what was built, not what was fetched
	rm -rf bin dist

.PHONY: distclean
distclean: clean ## Remove what was fetched, too
	rm -rf .cache
