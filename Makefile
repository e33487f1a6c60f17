.PHONY: up down test check unit integration e2e bench format lock

up down test:
	bin/$@

check unit integration e2e:
	bin/test $@

bench: # memory and deploys of the platform that runs here; pages of one in memory
	.venv/bin/python -m bench.memory
	.venv/bin/python -m bench.pages
	.venv/bin/python -m bench.deploy

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock: # exact versions with hashes, for every Python from 3.11 on; no download address is recorded
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml --output-file requirements.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra dev --constraint requirements.txt pyproject.toml --output-file requirements-dev.txt
	cd tests/e2e/clients && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund
