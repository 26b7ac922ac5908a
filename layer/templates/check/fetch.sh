#!/bin/sh
# Fetches the tools that check the templates into .cache/templates: cfn-lint, sam, terraform's own parser and the schema of its
# AWS provider, the AWS CLI, and the CDK. Each is pinned by version and checksum. A second call takes milliseconds.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../../.." && pwd)/.cache
to=$cache/templates
cdk=$here/../cdk
mkdir -p "$cache"
echo '*' >"$cache/.gitignore"

say() { echo "test parts: $*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND 'what is missing' package...
need() {
	command -v "$1" >/dev/null && return
	command=$1 what=$2
	shift 2
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "$what is missing; get it with: sudo apt-get install -y --no-install-recommends $*"
	say "installing $* ..."
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get install -qq -y --no-install-recommends "$@" || { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; }; } >"$cache/apt.log" 2>&1 ||
		{ tail -n 5 "$cache/apt.log" >&2; die "$what is missing and apt-get could not install it"; }
	command -v "$command" >/dev/null || die "$what is missing, also after installing $*"
}

# python makes the virtual environment, node the CDK's modules. Both are slow on the network, so they run side by side.
python() {
	python3 -m venv "$to/python" || die "python3 -m venv failed (Debian: apt-get install python3-venv)"
	PIP_DISABLE_PIP_VERSION_CHECK=1 "$to/python/bin/python" -m pip install -q --no-deps --only-binary :all: --require-hashes -r "$here/requirements.txt" ||
		die 'the tools that check the templates could not be installed'
	PIP_DISABLE_PIP_VERSION_CHECK=1 "$to/python/bin/python" -m pip download -q --no-deps --only-binary :all: --require-hashes -d "$to/schema" -r "$here/schema.txt" ||
		die "the schema of Terraform's AWS provider could not be fetched"
}

node() {
	mkdir -p "$to/cdk"
	cp "$cdk/package.json" "$cdk/package-lock.json" "$to/cdk/"
	(cd "$to/cdk" && npm ci --no-audit --no-fund --ignore-scripts >"$to/npm.log" 2>&1) ||
		{ tail -n 5 "$to/npm.log" >&2; die 'the CDK could not be installed'; }
}

fetch() {
	need python3 'Python 3.10 or newer' python3 python3-venv
	need npm 'Node.js 20 or newer' nodejs npm
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is missing: this is $(python3 -V)"
	want=$({ cat "$0" "$here/requirements.txt" "$here/schema.txt" "$cdk/package-lock.json"; python3 -c 'import sys; print(sys.version, sys.base_prefix)'; } | sha256sum)
	[ "$(cat "$to/.stamp" 2>/dev/null)" = "$want" ] && return
	say 'fetching what checks the templates ...'
	rm -rf "$to"
	mkdir "$to"
	python &
	pid=$!
	node
	wait "$pid" || exit 1
	echo "$want" >"$to/.stamp"
}

# Two makes at once must not write the same folder.
(
	flock 9
	fetch
) 9>"$cache/templates.lock"
