package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lambda-idempotency/lambda-idempotency/bench/machine"
)

// versions are those of all that was measured.
func (w *world) versions(ctx context.Context) (string, error) {
	var found []string
	for _, command := range [][]string{
		{w.python(), "-c", "import platform, aws_lambda_powertools as p, boto3, awslambdaric as r\n" +
			"from aws_lambda_powertools.shared.version import VERSION\n" +
			"print(f'Python {platform.python_version()} with Powertools {VERSION}, boto3 {boto3.__version__} and awslambdaric {r.__version__}')"},
		{w.node(), "-p", "'Node.js ' + process.versions.node"},
		{"go", "env", "GOVERSION"},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", command[0], err, out)
		}
		found = append(found, strings.TrimSpace(string(out)))
	}
	var packages []string
	for _, name := range []string{"@aws-lambda-powertools/idempotency", "@aws-sdk/client-dynamodb", "esbuild"} {
		text, err := os.ReadFile(w.path(".cache", "bench-node", "node_modules", name, "package.json"))
		if err != nil {
			return "", err
		}
		var p struct{ Version string }
		if err := json.Unmarshal(text, &p); err != nil {
			return "", err
		}
		packages = append(packages, name+" "+p.Version)
	}
	return fmt.Sprintf("%s; %s with %s; %s with aws-sdk-go-v2 %s.", found[0], found[1], strings.Join(packages, ", "), strings.Replace(found[2], "go", "Go ", 1), aws.SDKVersion), nil
}

func (d *document) introduce(m machine.Machine, versions string, took time.Duration, quick bool, only []string) {
	d.WriteString("# What idempotency costs\n")
	d.text("Written by `make bench`, which measures everything side by side, in one run, on one DynamoDB Local: this sidecar, Powertools for AWS Lambda\n" +
		"in Python and TypeScript with DynamoDB, and handlers that call DynamoDB or nothing.")
	command := "make bench"
	if quick {
		d.text("**Measured with `-quick`: these figures say nothing.**")
		command = "go run ./bench -quick"
	}
	if only != nil {
		command = "go run ./bench -only " + strings.Join(only, ",")
	}
	d.text(fmt.Sprintf("- %s, by `%s`, in %v.\n- %v.\n- %s",
		time.Now().UTC().Format("2006-01-02"), command, took.Round(time.Second), m, versions))
	d.text("To repeat it: Go 1.26, Python 3.10 or later, make, and on a machine that does nothing else `make bench`. Single parts: `make part-bench`, then\n" +
		"`go run ./extension/internal/testenv/dynamodblocal/cmd -- go run ./bench -only invocation` (or `cold`, `sqs`, `throughput`, `profile`, `cost`, `size`). Absolute times are\n" +
		"this machine's, and a real DynamoDB adds its distance and TLS; the ratios are what carries over. Nothing here was measured in Lambda itself.")
}
