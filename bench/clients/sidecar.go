package main

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

func (b *bench) start(ctx context.Context, settings ...string) (*sidecar.Sidecar, error) {
	return sidecar.Start(ctx, b.sidecar, append(environment(), settings...)...)
}

var acquires = regexp.MustCompile(`(?m)^idempotency_acquires_total\{status="(\w+)"\} (\d+)$`)

// answered tells how many acquires a sidecar answered with each status.
func answered(ctx context.Context, s *sidecar.Sidecar) (map[string]int, error) {
	text, err := s.Get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, found := range acquires.FindAllStringSubmatch(text, -1) {
		if counts[found[1]], err = strconv.Atoi(found[2]); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// environment is this process's, without what would direct a sidecar or a client elsewhere.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "IDEMPOTENCY_") && !strings.HasPrefix(entry, "AWS_") {
			kept = append(kept, entry)
		}
	}
	return kept
}
