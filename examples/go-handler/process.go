package main

import (
	"context"
	"fmt"
	"strings"
)

// process is the work: put your own here. What it returns has to fit JSON. The
// claim under which it runs is client.ClaimFrom(ctx).
func process(_ context.Context, j job) (any, error) {
	if !strings.Contains(j.ObjKey, "/") {
		return nil, fmt.Errorf("ObjKey %q has no bucket", j.ObjKey)
	}
	return map[string]string{"processed": j.ObjKey}, nil
}
