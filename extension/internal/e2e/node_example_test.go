package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// nodeWork takes the place of the example's work.
const nodeWork = `'use strict';
const { claimOf } = require('lambda-idempotency');

console.log('the client is', require.resolve('lambda-idempotency'));

exports.work = async (event, context) => {
  console.log('working on', event.JobId);
  if (event.JobId === 'fails once' && claimOf(context).attempt === 1) throw new Error('` + realError + `');
  if (event.JobId === 'waits') await fetch(process.env.GATE + '/waits');
  return { processed: event.ObjKey };
};
`

// nodeClient is AWS's runtime client for Node.js, as a command.
func nodeClient(t *testing.T) []string {
	t.Helper()
	client, err := testenv.Cache("node-ric", "node_modules", "aws-lambda-ric", "bin", "index.mjs")
	if err != nil {
		testenv.Unavailable(t, "Node.js runtime client: "+err.Error())
	}
	node, err := testenv.Cache("node", "bin", "node")
	if err == nil {
		node, err = exec.LookPath(node)
	}
	if err != nil {
		testenv.Unavailable(t, "Node.js: "+err.Error())
	}
	return []string{node, client, "index.handler"}
}

func nodeExample(t *testing.T) example {
	t.Helper()
	client := nodeClient(t)
	return example{
		name: "node-handler", command: client,
		dir: functionOf(t, "node-handler", "work.js", nodeWork),
		// As Lambda's runtime has it: https://docs.aws.amazon.com/lambda/latest/dg/nodejs-layers.html
		env:    map[string]string{"NODE_PATH": "/opt/nodejs/node_modules"},
		busy:   `"errorType":"InProgressError"`,
		failed: `"errorMessage":"` + realError + `"`,
		again:  `"errorType":"FailedError"`,
		away:   `"errorType":"UnavailableError","errorMessage":"store_unavailable: DynamoDB cannot be reached`,
	}
}

func TestNodeExample(t *testing.T) {
	t.Parallel()
	nodeExample(t).does(t)
}

// TestNodeExampleAsModule runs what the README shows of ES modules, with the link
// that it says a plain Node.js needs.
func TestNodeExampleAsModule(t *testing.T) {
	t.Parallel()
	x := nodeExample(t)
	readme, err := os.ReadFile(filepath.Join(root, "examples/node-handler/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	module := regexp.MustCompile("(?s)```js\n(import .*?)```").FindSubmatch(readme)
	link := regexp.MustCompile("(?m)^ln -s /opt/nodejs/node_modules .*$").Find(readme)
	if module == nil || link == nil {
		t.Fatal("the README shows no module, or no link")
	}
	if err := os.WriteFile(filepath.Join(x.dir, "index.mjs"), module[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(x.dir, "index.js")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", string(link))
	cmd.Dir = x.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	x.env = nil
	e := x.deploy(t, onTable(t), nil)
	for range 2 {
		e.mustGet("12345", objKey)
	}
	e.mustHaveRun("12345", 1)
	if log := e.Log(); !strings.Contains(log, "the client is /opt/nodejs/node_modules/lambda-idempotency/index.js") {
		t.Error("the client is not the layer's")
	}
}
