package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a run is made of.
type Config struct {
	Requests int
	// Rows is in how many parts they are sent. After each, all callers hang up and
	// the process is looked at.
	Rows    int
	Callers int
	Seed    uint64
	// Keys is how many keys each caller takes in turn; 0: always new ones.
	Keys int
	// Kept is how many connections to its store the process may keep open, or
	// not, between requests.
	Kept int
}

// Row is what a part of a run showed.
type Row struct {
	Requests int // so far
	Took     time.Duration
	Sent     int    // in this part
	Peak     Sample // the highest seen while callers called
	Quiet    Sample // when all had hung up
}

// Report is what a run showed.
type Report struct {
	Config
	Rows []Row
}

// peakPoll is the pause between two looks at the process under load.
const peakPoll = 200 * time.Millisecond

// Run sends the requests. An answer that is not as it must be ends the run with an
// error; what the process holds is for Report.Leaks to judge.
func Run(ctx context.Context, p *Process, cfg Config, told func(Row)) (*Report, error) {
	report := &Report{Config: cfg}
	callers := make([]*caller, cfg.Callers)
	var left atomic.Int64
	for i := range callers {
		callers[i] = &caller{Rand: rand.New(rand.NewPCG(cfg.Seed, uint64(i))), process: p, name: i, keys: cfg.Keys, left: &left}
	}
	sent := 0
	for i := range cfg.Rows {
		part := cfg.Requests*(i+1)/cfg.Rows - sent
		left.Store(int64(part))
		row, err := p.load(ctx, callers)
		if err != nil {
			return report, err
		}
		row.Sent = part - int(left.Load()) // Steps that have begun are brought to their end.
		sent += row.Sent
		row.Requests = sent
		if row.Quiet, err = p.quiet(ctx); err != nil {
			return report, err
		}
		row.Peak = row.Peak.most(row.Quiet)
		report.Rows = append(report.Rows, row)
		told(row)
	}
	return report, nil
}

// load has the callers call until no request is left.
func (p *Process) load(ctx context.Context, callers []*caller) (Row, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var row Row
	var wg sync.WaitGroup
	start := time.Now()
	wrong := make([]error, len(callers))
	for i, c := range callers {
		wg.Go(func() {
			if wrong[i] = c.run(ctx); wrong[i] != nil {
				cancel()
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	var failed error
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(peakPoll):
			s, err := p.sample(ctx)
			if err != nil && ctx.Err() == nil {
				failed = fmt.Errorf("the process could not be looked at: %w", err)
				cancel()
			}
			row.Peak = row.Peak.most(s)
		}
	}
	row.Took = time.Since(start)
	for _, err := range wrong {
		if !errors.Is(err, context.Canceled) {
			failed = errors.Join(failed, err)
		}
	}
	if p.ended() {
		failed = errors.Join(failed, errors.New("the process ended: "+p.Printed()))
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return row, failed
}
