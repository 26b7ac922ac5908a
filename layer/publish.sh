#!/bin/sh
# Publishes the layers that `make layer` made, one for each architecture, and prints their ARNs:
#
#   layer/publish.sh [NAME]
#
# NAME, lambda-idempotency if there is none, and the architecture make a layer's name. The AWS CLI's own variables say where to
# and as whom: AWS_PROFILE, AWS_REGION … VERSION, if set, is told in the description.
#
# Exit codes: 0 published; 1 the AWS CLI failed; 2 called wrongly, or there is nothing to publish; 3 nothing was published, for
# there is no AWS CLI or it has no credentials that AWS takes: then what would be run is printed instead.
set -eu

say() { echo "publish: $*" >&2; }

[ $# -le 1 ] || { say "one argument is taken, the layers' name"; exit 2; }
name=${1:-lambda-idempotency}
cd "$(dirname "$0")/.."
architectures='x86_64 arm64'

for architecture in $architectures; do
	zip=dist/lambda-idempotency-layer-$architecture.zip
	[ -f "$zip" ] || { say "$zip is missing; make it with: make layer"; exit 2; }
done

# The runtimes are left open: the extension serves them all, and those that do not exist yet.
publish() {
	"$@" aws lambda publish-layer-version \
		--layer-name "$name-$architecture" \
		--description "lambda-idempotency${VERSION:+ $VERSION}" \
		--license-info Apache-2.0 \
		--compatible-architectures "$architecture" \
		--zip-file "fileb://dist/lambda-idempotency-layer-$architecture.zip" \
		--query LayerVersionArn --output text
}

# printed writes a command as a shell takes it.
printed() {
	between=
	for word; do
		case $word in
		*[!a-zA-Z0-9_./:=-]*) word="'$word'" ;;
		esac
		printf '%s%s' "$between" "$word"
		between=' '
	done
	echo
}

without() {
	say "$1; nothing was published. With it, this would be run in $(pwd):"
	for architecture in $architectures; do publish printed; done
	exit 3
}

command -v aws >/dev/null || without 'there is no AWS CLI (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html)'
why=$(aws sts get-caller-identity --output text 2>&1 >/dev/null) ||
	without "the AWS CLI has no credentials that AWS takes (aws configure, aws sso login, or AWS_PROFILE): $(printf %s "$why" | tr '\n' ' ' | sed 's/^ *//')"

for architecture in $architectures; do
	arn=$(publish env) || { say "the layer for $architecture was not published"; exit 1; }
	echo "$architecture $arn"
done
