package chaos

import (
	"context"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// havoc kills a sidecar now and then, and starts it again, until the context is
// done.
func (r *run) havoc(ctx context.Context) error {
	d := r.plan.stream("kills")
	for sleep(ctx, d.between(200*time.Millisecond, 1500*time.Millisecond)) {
		s := r.sidecars[d.IntN(len(r.sidecars))]
		r.kill(s)
		r.tally.add(SidecarKilled)
		sleep(ctx, d.between(0, 400*time.Millisecond))
		if err := s.Restart(); err != nil {
			return err
		}
	}
	return nil
}

// kill ends a sidecar, and notes whether it had ended by itself.
func (r *run) kill(s *program.Process) {
	if s.Kill() {
		return
	}
	r.died++
	r.log = s.Printed()
	r.log = r.log[max(0, len(r.log)-4096):]
}
