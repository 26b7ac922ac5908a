// Command build makes the layers: one zip for each architecture, as Lambda
// unpacks it to /opt, and a file of checksums. The same sources and Go version
// make the same bytes, whatever the folder, the time and the machine.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "the `folder` of the sources")
	out := flags.String("out", "dist", "the `folder` for the zips")
	version := flags.String("version", "0.0.0", "the version that the extension tells")
	arch := flags.String("arch", "x86_64,arm64", "the architectures, as Lambda names them")
	opt := flags.String("opt", "", "besides, write what the first zip holds to this `folder`, to be mounted as /opt")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "build: no arguments are taken, and %q is one\n", flags.Arg(0))
		return 2
	}
	if err := build(context.Background(), *root, *out, *version, strings.Split(*arch, ","), *opt, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "build:", err)
		return 1
	}
	return 0
}

// goArch translates Lambda's names of architectures:
// https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html
var goArch = map[string]string{"x86_64": "amd64", "arm64": "arm64"}

func build(ctx context.Context, root, out, version string, archs []string, opt string, stdout io.Writer) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	shared, err := sharedFiles(ctx, root)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for i, arch := range archs {
		if goArch[arch] == "" {
			return fmt.Errorf("no architecture is called %q; use x86_64 or arm64", arch)
		}
		binary, err := extension(ctx, root, out, version, goArch[arch])
		if err != nil {
			return err
		}
		layer := append([]file{binary}, shared...)
		name := "lambda-idempotency-layer-" + arch + ".zip"
		packed, err := pack(layer)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), packed, 0o644); err != nil { //nolint:gosec // It is to be published.
			return err
		}
		_, _ = fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(packed), name)
		_, _ = fmt.Fprintf(stdout, "%s: %.2f MB\n", filepath.Join(out, name), float64(len(packed))/1e6)
		if i == 0 && opt != "" {
			if err := unpack(layer, opt); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644) //nolint:gosec // It is to be published.
}
