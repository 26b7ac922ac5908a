package layer_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// account is what the AWS CLI reaches in AWS's place.
type account struct {
	url string

	mu        sync.Mutex
	refuse    string // the name of the layer that is not taken
	published []published
}

// published is a layer as it came.
type published struct {
	Name                    string
	Description             string
	LicenseInfo             string
	CompatibleArchitectures []string
	CompatibleRuntimes      []string
	Content                 struct{ ZipFile []byte }
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "GetCallerIdentity" {
			t.Errorf("called was %v", r.Form)
		}
		_, _ = fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	})
	mux.HandleFunc("POST /2018-10-31/layers/{name}/versions", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		layer := published{Name: r.PathValue("name")}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &layer)
		}
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		if layer.Name == a.refuse {
			w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"Message":"not authorized"}`)
			return
		}
		a.published = append(a.published, layer)
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"LayerVersionArn":"arn:of:%s:7","Version":7}`, layer.Name)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// publishing is a folder with the script and layers for it.
func publishing(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	script, err := os.ReadFile("publish.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"layer/publish.sh":                         script,
		"dist/lambda-idempotency-layer-x86_64.zip": zipOf(t, "x86_64"),
		"dist/lambda-idempotency-layer-arm64.zip":  zipOf(t, "arm64"),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700), os.WriteFile(filepath.Join(root, name), data, 0o700)); err != nil { //nolint:gosec // The script is run.
			t.Fatal(err)
		}
	}
	return root
}

// zipOf stands for a layer.
func zipOf(t *testing.T, architecture string) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create("extensions/lambda-idempotency")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, architecture); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// publish runs the script from another folder, with the real AWS CLI or none.
func publish(t *testing.T, root string, withCLI bool, args []string, env ...string) (code int, stdout, stderr string) {
	t.Helper()
	path := "/usr/bin:/bin"
	if withCLI {
		path = filepath.Dir(templateTool(t, "python", "bin", "aws")) + ":" + path
	} else if _, err := exec.LookPath("/usr/bin/aws"); err == nil {
		unavailable(t, "an AWS CLI is in /usr/bin, so that this cannot be run without one")
	}
	cmd := exec.Command("sh", append([]string{filepath.Join(root, "layer", "publish.sh")}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + path, "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1"}, env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return code, out.String(), said.String()
}

func (a *account) env() []string {
	return []string{"AWS_ENDPOINT_URL=" + a.url, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "VERSION=1.2.3"}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	code, stdout, stderr := publish(t, publishing(t), true, nil, a.env()...)
	if want := "x86_64 arn:of:lambda-idempotency-x86_64:7\narm64 arn:of:lambda-idempotency-arm64:7\n"; code != 0 || stdout != want || stderr != "" {
		t.Errorf("it ended with %d and printed %q, %q; want %q", code, stdout, stderr, want)
	}
	var want []published
	for _, architecture := range []string{"x86_64", "arm64"} {
		layer := published{Name: "lambda-idempotency-" + architecture, Description: "lambda-idempotency 1.2.3", LicenseInfo: "Apache-2.0", CompatibleArchitectures: []string{architecture}}
		layer.Content.ZipFile = zipOf(t, architecture)
		want = append(want, layer)
	}
	if diff := cmp.Diff(want, a.published); diff != "" {
		t.Errorf("published was:\n%s", diff)
	}
}

func TestPublishIsRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.refuse = "mine-arm64"
	code, stdout, stderr := publish(t, publishing(t), true, []string{"mine"}, a.env()...)
	if code != 1 || stdout != "x86_64 arn:of:mine-x86_64:7\n" || !strings.Contains(stderr, "AccessDeniedException") || !strings.Contains(stderr, "the layer for arm64 was not published") {
		t.Errorf("it ended with %d: %q, %q", code, stdout, stderr)
	}
}

// TestPublishWithout runs it with nobody to publish as, then what it printed with
// somebody.
func TestPublishWithout(t *testing.T) {
	t.Parallel()
	root := publishing(t)
	for what, withCLI := range map[string]bool{"there is no AWS CLI": false, "the AWS CLI has no credentials that AWS takes": true} {
		t.Run(what, func(t *testing.T) {
			code, stdout, stderr := publish(t, root, withCLI, []string{"my layer"})
			if code != 3 || !strings.Contains(stderr, what) || !strings.Contains(stderr, "nothing was published") {
				t.Errorf("it ended with %d: %q, %q", code, stdout, stderr)
			}
			for _, architecture := range []string{"x86_64", "arm64"} {
				if !strings.Contains(stdout, "--layer-name 'my layer-"+architecture+"' ") {
					t.Errorf("%s is not in %q", architecture, stdout)
				}
			}
		})
	}
	t.Run("what it says", func(t *testing.T) {
		_, commands, _ := publish(t, root, false, nil)
		a := newAccount(t)
		cmd := exec.Command("sh", "-euc", commands)
		cmd.Dir = root
		cmd.Env = append(toolEnv(), append(a.env(), "PATH="+filepath.Dir(templateTool(t, "python", "bin", "aws"))+":/usr/bin:/bin")...)
		printed, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", commands, err, printed)
		}
		names := []string{}
		for _, layer := range a.published {
			names = append(names, layer.Name)
		}
		if !slices.Equal(names, []string{"lambda-idempotency-x86_64", "lambda-idempotency-arm64"}) {
			t.Errorf("published were %v by:\n%s", names, commands)
		}
	})
}

func TestPublishNothing(t *testing.T) {
	t.Parallel()
	root := publishing(t)
	if code, stdout, stderr := publish(t, root, false, []string{"two", "names"}); code != 2 || stdout != "" || !strings.Contains(stderr, "one argument") {
		t.Errorf("it ended with %d: %q, %q", code, stdout, stderr)
	}
	if err := os.Remove(filepath.Join(root, "dist", "lambda-idempotency-layer-arm64.zip")); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := publish(t, root, false, nil); code != 2 || stdout != "" || !strings.Contains(stderr, "layer-arm64.zip is missing; make it with: make layer") {
		t.Errorf("it ended with %d: %q, %q", code, stdout, stderr)
	}
}
