// Package delay makes a store answer as late as one that lies further off, and tells how long every round trip took.
package delay

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clock"
)

// Trip is a request and its answer, by the monotonic clock: from when the first byte of the request was here until the
// last of the answer was.
type Trip struct{ Begin, End int64 }

// Relay passes what comes to Addr on to another address.
type Relay struct {
	Addr string

	target   string
	listener net.Listener
	mu       sync.Mutex
	delay    time.Duration
	trips    []*Trip
	conns    map[net.Conn]bool
}

// Listen opens a relay on a free port of loopback.
func Listen(target string) (*Relay, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{Addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	go r.accept()
	return r, nil
}

// Close ends it and what goes through it.
func (r *Relay) Close() {
	_ = r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

// SetDelay is the time from a request until its answer, of every request from now on: an answer that comes sooner waits,
// and one that comes later is passed on at once. So what the store itself takes is part of that time, as it is of the
// latency of a service.
func (r *Relay) SetDelay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Take returns the trips since it was called last.
func (r *Relay) Take() []Trip {
	r.mu.Lock()
	defer r.mu.Unlock()
	var trips, open = make([]Trip, 0, len(r.trips)), []*Trip(nil)
	for _, t := range r.trips {
		if t.End == 0 {
			open = append(open, t)
			continue
		}
		trips = append(trips, *t)
	}
	r.trips = open
	return trips
}

func (r *Relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.pass(near)
	}
}

func (r *Relay) pass(near net.Conn) {
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.target)
	if err != nil {
		_ = near.Close()
		return
	}
	r.mu.Lock()
	r.conns[near], r.conns[far] = true, true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, near)
		delete(r.conns, far)
		r.mu.Unlock()
	}()
	// HTTP/1.1 without pipelining: what comes after an answer is a request, and all else belongs to the one before.
	var trip *Trip
	var due time.Time
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyEach(near, far, func() {
			r.mu.Lock()
			wait := time.Until(due)
			r.mu.Unlock()
			time.Sleep(wait)
			r.mu.Lock()
			defer r.mu.Unlock()
			if trip != nil {
				trip.End = clock.Now()
			}
		})
		_ = near.Close()
	}()
	copyEach(far, near, func() {
		begin := clock.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		if trip != nil && trip.End == 0 {
			return
		}
		trip = &Trip{Begin: begin}
		r.trips = append(r.trips, trip)
		due = time.Now().Add(r.delay)
	})
	_ = far.Close()
	<-done
}

// copyEach copies what arrives, and calls before each time that it has something.
func copyEach(to, from net.Conn, before func()) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			before()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Within tells for how long of the time between begin and end a trip was under way, and how many began.
func Within(trips []Trip, begin, end int64) (store time.Duration, count int) {
	sorted := slices.SortedFunc(slices.Values(trips), func(a, b Trip) int { return int(a.Begin - b.Begin) })
	last := begin
	for _, t := range sorted {
		if t.Begin >= begin && t.Begin <= end {
			count++
		}
		from, to := max(t.Begin, last), min(t.End, end)
		if to > from {
			store += time.Duration(to - from)
			last = to
		}
	}
	return store, count
}
