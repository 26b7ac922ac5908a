package layer_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// maxLayer is what a layer may have, zipped.
const maxLayer = 6_000_000

var archs = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// build makes the layers of the sources in root and returns the folder of the
// zips.
func build(t *testing.T, root string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("go", "run", "./layer/build", "-version", "9.9.9", "-out", out)
	cmd.Dir = root
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	return out
}

// copySources copies what a commit of the working folder would hold.
func copySources(t *testing.T, to string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(strings.Trim(string(names), "\x00"), "\x00") {
		from := filepath.Join("..", name)
		info, err := os.Lstat(from)
		if err != nil || !info.Mode().IsRegular() {
			continue // Removed since the last commit.
		}
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLayersAreReproducible(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "another folder")
	copySources(t, elsewhere)
	// What was fetched for the Java client is fetched once.
	if parts, err := filepath.Abs("../.cache"); err != nil {
		t.Fatal(err)
	} else if err := os.Symlink(parts, filepath.Join(elsewhere, ".cache")); err != nil {
		t.Fatal(err)
	}
	here, there := build(t, ".."), build(t, elsewhere)
	for arch := range archs {
		name := "lambda-idempotency-layer-" + arch + ".zip"
		a, b := read(t, here, name), read(t, there, name)
		if !bytes.Equal(a, b) {
			t.Errorf("%s has %x here and %x elsewhere", name, sha256.Sum256(a), sha256.Sum256(b))
		}
		if len(a) > maxLayer {
			t.Errorf("%s has %d bytes", name, len(a))
		}
		t.Logf("%s: %d bytes", name, len(a))
		contents(t, a, arch)
	}
	sums(t, here)
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sums checks the file of checksums as its users would.
func sums(t *testing.T, dir string) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(read(t, dir, "SHA256SUMS")))
	n := 0
	for ; lines.Scan(); n++ {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		got := sha256.Sum256(read(t, dir, name))
		if hex.EncodeToString(got[:]) != sum {
			t.Errorf("the checksum of %s is not %s", name, sum)
		}
	}
	if n != len(archs) {
		t.Errorf("%d checksums for %d layers", n, len(archs))
	}
}

// contents checks what is in a layer, and where.
func contents(t *testing.T, packed []byte, arch string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	for _, f := range z.File {
		modes[f.Name] = f.Mode()
		for _, bad := range []string{"test", "__pycache__", "node_modules/.", ".gitignore", "tsconfig"} {
			if strings.Contains(strings.ReplaceAll(f.Name, "lambda_idempotency", ""), bad) {
				t.Errorf("%s is not for users", f.Name)
			}
		}
	}
	for name, mode := range map[string]fs.FileMode{
		"extensions/lambda-idempotency":                       0o755,
		"idempotency-wrapper":                                 0o755,
		"python/lambda_idempotency/__init__.py":               0o644,
		"python/lambda_idempotency/py.typed":                  0o644,
		"nodejs/node_modules/lambda-idempotency/package.json": 0o644,
		"nodejs/node_modules/lambda-idempotency/index.d.ts":   0o644,
		"ruby/lib/lambda_idempotency.rb":                      0o644,
		"java/lib/lambda-idempotency.jar":                     0o644,
		"licenses/lambda-idempotency/LICENSE":                 0o644,
		"licenses/lambda-idempotency/THIRD-PARTY":             0o644,
	} {
		if modes[name] != mode {
			t.Errorf("%s has mode %v", name, modes[name])
		}
	}
	// Lambda starts every file there.
	if n := slices.IndexFunc(z.File, func(f *zip.File) bool {
		return strings.HasPrefix(f.Name, "extensions/") && f.Name != "extensions/lambda-idempotency"
	}); n >= 0 {
		t.Errorf("%s is no extension", z.File[n].Name)
	}
	binary := open(t, z, "extensions/lambda-idempotency")
	program, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if program.Machine != archs[arch] {
		t.Errorf("the extension for %s is of %v", arch, program.Machine)
	}
	if libraries, _ := program.ImportedLibraries(); len(libraries) > 0 {
		t.Errorf("the extension needs %v", libraries)
	}
	third := string(open(t, z, "licenses/lambda-idempotency/THIRD-PARTY"))
	for _, work := range []string{"The Go programming language", "github.com/aws/aws-sdk-go-v2/service/dynamodb", "github.com/go-chi/chi", "github.com/prometheus/client_golang", "NOTICE"} {
		if !strings.Contains(third, "==== "+work) && !strings.Contains(third, ": "+work) {
			t.Errorf("no licence of %s", work)
		}
	}
}

func open(t *testing.T, z *zip.Reader, name string) []byte {
	t.Helper()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestArm64Runs runs the binary for arm64 far enough to answer, where need be
// under emulation.
func TestArm64Runs(t *testing.T) {
	opt := t.TempDir()
	cmd := exec.Command("go", "run", "./layer/build", "-arch", "arm64", "-out", t.TempDir(), "-opt", opt)
	cmd.Dir = ".."
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	command := []string{filepath.Join(opt, "extensions", "lambda-idempotency")}
	if runtime.GOARCH != "arm64" {
		qemu, err := exec.LookPath("qemu-aarch64")
		if err != nil {
			qemu, err = exec.LookPath("qemu-aarch64-static")
		}
		if err != nil {
			const missing = "qemu-aarch64 is missing, to run what is built for arm64; get it with: make part-tools"
			if os.Getenv("CI") == "true" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
		command = append([]string{qemu}, command...)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	program := exec.Command(command[0], command[1:]...)
	program.Env = []string{"IDEMPOTENCY_STORE=memory", fmt.Sprintf("IDEMPOTENCY_PORT=%d", port)}
	var printed bytes.Buffer
	program.Stdout, program.Stderr = &printed, &printed
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = program.Process.Kill()
		_ = program.Wait()
		if t.Failed() {
			t.Logf("it printed:\n%s", &printed)
		}
	}()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for limit := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(url + "/health")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Fatalf("health: %s", res.Status)
			}
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
	res, err := http.Post(url+"/acquire", "application/json", strings.NewReader(`{"event":{"a":1},"key_jmespath":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if text, _ := io.ReadAll(res.Body); !strings.Contains(string(text), `"status":"acquired"`) {
		t.Fatalf("acquire: %s", text)
	}
}
