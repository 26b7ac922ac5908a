package e2e_test

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/config"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

const root = "../../.."

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type snippet struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

func snippets(t *testing.T) []snippet {
	t.Helper()
	var list []snippet
	for _, m := range fence.FindAllStringSubmatch(readme(t), -1) {
		list = append(list, snippet{m[1], m[2]})
	}
	return list
}

// shell runs a script at the root and returns what it printed.
func shell(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	// Under make, MAKEFLAGS would pass on what this make was called with.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// localServer starts what the README says, and returns its port.
func localServer(t *testing.T, script string) string {
	t.Helper()
	port := strconv.Itoa(emulator.FreePort(t))
	// The server's files go to a folder of the test's own, and what Go has compiled
	// stays where it is: else all would be compiled anew.
	compiled, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Not bound to the test's context, which ends before the clean-up does.
	cmd := exec.Command("sh", "-euc", strings.Replace(script, "IDEMPOTENCY_STORE=", "exec env IDEMPOTENCY_STORE=", 1))
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "IDEMPOTENCY_PORT="+port, "XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+strings.TrimSpace(string(compiled)))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listens on http://127.0.0.1:"+port) {
			return port
		}
	}
	t.Fatal("the server did not say where it listens")
	return ""
}

// TestReadmeSnippets runs every snippet of the README, in its order, on one
// local server. Only the port is another, and `make test` is not run within
// itself.
func TestReadmeSnippets(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		testenv.Unavailable(t, "curl is missing; run `make test-parts`")
	}
	port := ""
	for i, s := range snippets(t) {
		name := fmt.Sprintf("%d %s", i, s.language)
		text := strings.ReplaceAll(s.text, "127.0.0.1:2774", "127.0.0.1:"+port)
		switch {
		case strings.HasPrefix(s.text, "make demo"):
			t.Run(name, func(t *testing.T) {
				for line := range strings.Lines(s.text) {
					command, _, _ := strings.Cut(line, "#")
					shell(t, "make -n "+strings.TrimPrefix(strings.TrimSpace(command), "make "))
				}
			})
		case strings.Contains(s.text, "./bin/lambda-idempotency"):
			port = localServer(t, s.text)
		case strings.Contains(s.text, "make layer"):
			t.Run(name, func(t *testing.T) { buildsLayers(t, s.text) })
		case s.language == "sh":
			t.Run(name, func(t *testing.T) { answersAsSaid(t, text) })
		case s.language == "python":
			t.Run(name, func(t *testing.T) { pythonPrints(t, text, port) })
		case s.language == "go":
			t.Run(name, func(t *testing.T) { goPrints(t, text, port) })
		case s.language == "json":
			t.Run(name, func(t *testing.T) { isThePolicy(t, s.text) })
		case s.language == "text":
			t.Run(name, func(t *testing.T) { isThePicture(t, s.text) })
		default:
			t.Errorf("nothing runs snippet %s:\n%s", name, s.text)
		}
	}
}

// answersAsSaid runs the calls; each has a comment that quotes from its answer.
func answersAsSaid(t *testing.T, script string) {
	answers := strings.Split(strings.TrimSpace(shell(t, script)), "\n")
	n := 0
	for line := range strings.Lines(script) {
		_, comment, ok := strings.Cut(line, " # ")
		if !ok {
			continue
		}
		quoted := regexp.MustCompile(`"\w+":("\w+"|\{[^}]*\})`).FindAllString(comment, -1)
		if len(quoted) == 0 || n >= len(answers) {
			t.Fatalf("answer %d of %q: the comment is %q", n, answers, comment)
		}
		for _, q := range quoted {
			if !strings.Contains(answers[n], q) {
				t.Errorf("%s answered %s", strings.TrimSpace(line), answers[n])
			}
		}
		n++
	}
	if n != len(answers) {
		t.Errorf("%d answers, %d comments", len(answers), n)
	}
}

func pythonPrints(t *testing.T, program, port string) {
	cmd := exec.CommandContext(t.Context(), "python3", "-c", program)
	cmd.Env = append(os.Environ(), "IDEMPOTENCY_PORT="+port, "AWS_SESSION_TOKEN=", "PYTHONPATH="+filepath.Join(root, "client", "python"), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := strings.Repeat("{'done': '12345'}\n", strings.Count(program, "# prints {'done': '12345'}")); string(out) != want || want == "" {
		t.Fatalf("printed %q, want %q", out, want)
	}
}

func goPrints(t *testing.T, program, port string) {
	dir, err := os.MkdirTemp(".", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./"+dir)
	cmd.Env = append(os.Environ(), "IDEMPOTENCY_PORT="+port, "AWS_SESSION_TOKEN=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "charging\nreceipt-1\nreceipt-1\n"; string(out) != want {
		t.Fatalf("printed %q, want %q", out, want)
	}
}

func isThePolicy(t *testing.T, text string) {
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dynamodb.Actions(), policy.Statement[0].Action); diff != "" || len(policy.Statement) != 1 {
		t.Fatalf("the policy is not what the store needs:\n%s", diff)
	}
}

// buildsLayers runs the command, whose comment names a layer for each architecture.
func buildsLayers(t *testing.T, script string) {
	shell(t, script)
	for arch, machine := range map[string]elf.Machine{"x86_64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		if !strings.Contains(script, "-"+arch+".zip") {
			t.Errorf("the layer for %s is not named", arch)
		}
		to := t.TempDir()
		if err := unzip(filepath.Join(root, "dist", "lambda-idempotency-layer-"+arch+".zip"), to); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, "extensions", "lambda-idempotency")
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || info.Mode().Perm()&0o111 != 0o111 || info.Size() > 14_000_000 {
			t.Errorf("the extension for %s is for %v, of mode %v, with %d bytes", arch, f.Machine, info.Mode(), info.Size())
		}
	}
}

// isThePicture checks that the picture names every folder with Go code below
// extension/, and nothing that is not there.
func isThePicture(t *testing.T, text string) {
	var shown []string
	for line := range strings.Lines(text) {
		name := strings.TrimSuffix(strings.Fields(line)[0], "/")
		if strings.HasPrefix(line, "  internal/") {
			name = "extension/" + name
		}
		shown = append(shown, name)
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("the picture shows what is not there: %v", err)
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "extension", "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if code, _ := filepath.Glob(filepath.Join(path, "*.go")); len(code) == 0 {
			return nil
		}
		path, err = filepath.Rel(root, path)
		if !slices.ContainsFunc(shown, func(s string) bool { return path == s || strings.HasPrefix(path, s+"/") && s != "extension" }) {
			t.Errorf("the picture lacks %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOperatingNamesMetrics checks that docs/operating.md names the metrics that
// there are.
func TestOperatingNamesMetrics(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root, "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("../metrics/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`idempotency_[a-z_]+`).FindAllString(string(doc), -1)
	if len(names) == 0 {
		t.Fatal("no metric is named")
	}
	for _, name := range names {
		if !strings.Contains(string(golden), "# TYPE "+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
}

// TestReadmeSettings compares the table of settings with the code's list. With
// UPDATE=1 it writes the table.
func TestReadmeSettings(t *testing.T) {
	text := readme(t)
	before, rest, ok := strings.Cut(text, "<!-- settings")
	if !ok {
		t.Fatal("the README has no table of settings")
	}
	_, after, _ := strings.Cut(rest, "<!-- /settings -->")
	want := before + "<!-- settings: made from the code's list; UPDATE=1 go test -run TestReadmeSettings ./extension/internal/e2e -->\n" +
		config.Markdown() + "<!-- /settings -->" + after
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(filepath.Join(root, "README.md"), []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Fatalf("the README's settings are not the code's; run it with UPDATE=1:\n%s", diff)
	}
}
