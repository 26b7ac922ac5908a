#!/bin/sh
# Builds and tests the Java client with the JDK alone; Maven only fetches what pom.xml names, into .cache/.
#
#   build.sh parts   fetches what it is compiled and tested with, pinned by pom.xml and SHA256SUMS
#   build.sh jar     makes target/lambda-idempotency.jar, the same bytes each time
#   build.sh test    makes it and runs the tests on it (the sidecar: SIDECAR, else bin/lambda-idempotency)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/.cache
lib=$cache/java-client
target=$here/target

die() { echo "java client: $*" >&2; exit 1; }

jdk17() { javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p' | awk '{ok = $1 >= 17} END {exit !ok}'; }

parts() {
	want=$(cat "$here/pom.xml" "$here/SHA256SUMS" | sha256sum | cut -d' ' -f1)
	[ "$(cat "$lib/.stamp" 2>/dev/null)" != "$want" ] || return 0
	command -v mvn >/dev/null || die 'Maven is missing; Debian: apt-get install maven'
	mkdir -p "$cache"
	echo '*' >"$cache/.gitignore"
	new=$lib.new
	rm -rf "$new"
	mvn -B -ntp -q -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
		-DoutputDirectory="$new" >"$cache/maven-java-client.log" 2>&1 ||
		{ tail -n 20 "$cache/maven-java-client.log" >&2; die 'Maven could not fetch what pom.xml names'; }
	(cd "$new" && sha256sum --quiet --strict -c "$here/SHA256SUMS") || die 'what was fetched is not what SHA256SUMS says'
	[ "$(find "$new" -type f | wc -l)" -eq "$(wc -l <"$here/SHA256SUMS")" ] || die 'Maven brought files that SHA256SUMS does not name'
	echo "$want" >"$new/.stamp"
	rm -rf "$lib"
	mv "$new" "$lib"
}

# Strings are joined by plain code: the JDK's default links each place at run time, which a cold start pays for.
compile() {
	out=$1
	shift
	rm -rf "$out"
	mkdir -p "$out"
	(cd "$here" && javac --release 17 -encoding UTF-8 -Xlint:all -Werror -XDstringConcat=inline -d "$out" "$@")
}

jar() {
	jdk17 || die 'a JDK of version 17 or newer is missing; Debian: apt-get install openjdk-17-jdk-headless'
	parts
	compile "$target/classes" -g:source,lines -cp "$lib/*" $(cd "$here" && find src/main/java -name '*.java' | LC_ALL=C sort)
	mkdir -p "$target/classes/META-INF"
	cp "$root/LICENSE" "$target/classes/META-INF/LICENSE"
	printf 'Automatic-Module-Name: io.github.lambdaidempotency\n' >"$target/MANIFEST.MF"
	# In one order and with one date, for the same bytes from the same source.
	(cd "$target/classes" && find . -type f | LC_ALL=C sort | sed 's|^\./||' >"$target/files" &&
		command jar --create --date=2026-01-01T00:00:00Z --manifest="$target/MANIFEST.MF" --file="$target/new.jar" @"$target/files")
	mv "$target/new.jar" "$target/lambda-idempotency.jar"
}

check() {
	jar
	compile "$target/test-classes" -cp "$target/lambda-idempotency.jar:$lib/*" $(cd "$here" && find src/test/java -name '*.java' | LC_ALL=C sort)
	sidecar=${SIDECAR:-$root/bin/lambda-idempotency}
	[ -x "$sidecar" ] || die "no $sidecar: make build"
	java -XX:TieredStopAtLevel=1 -Dvectors="$here/../vectors.json" -Djar="$target/lambda-idempotency.jar" -Dsidecar="$sidecar" \
		-cp "$target/test-classes:$target/lambda-idempotency.jar:$lib/*" org.junit.platform.console.ConsoleLauncher execute --fail-if-no-tests \
		--disable-banner --disable-ansi-colors --details=summary --scan-classpath "$target/test-classes"
}

# alone runs one build at a time: several may want the jar at once.
alone() {
	mkdir -p "$target"
	(
		flock 9
		"$1"
	) 9>"$target/lock"
}

case ${1:-} in
parts) alone parts ;;
jar) alone jar ;;
test) alone check ;;
*) die 'what to do: parts, jar or test' ;;
esac
