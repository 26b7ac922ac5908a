package delay_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clock"
	"github.com/lambda-idempotency/lambda-idempotency/bench/delay"
)

// Every answer is late by the delay, is one trip however large it is, and its bytes arrive as they were.
func TestRelay(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // As a store does, it answers what it has read.
		_, _ = w.Write(body)
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	relay, err := delay.Listen(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	const late = 20 * time.Millisecond
	relay.SetDelay(late)
	for _, size := range []int{1, 1 << 20} {
		sent := bytes.Repeat([]byte("x"), size)
		begin := clock.Now()
		res, err := http.Post("http://"+relay.Addr, "text/plain", bytes.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		end := clock.Now()
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back as %d, %v", size, len(got), err)
		}
		trips := relay.Take()
		store, count := delay.Within(trips, begin, end)
		if count != 1 || len(trips) != 1 {
			t.Errorf("%d bytes were %d trips, %d of them in time, want 1", size, len(trips), count)
		}
		if store < late || store > time.Duration(end-begin) {
			t.Errorf("the store took %v of %v, with a delay of %v", store, time.Duration(end-begin), late)
		}
	}
	if trips := relay.Take(); len(trips) != 0 {
		t.Errorf("trips were told of twice: %v", trips)
	}
}

// What the store takes by itself is part of the delay, for it has the request at once.
func TestRelayCountsTheStoresOwnTime(t *testing.T) {
	const late = 500 * time.Millisecond
	asked := make(chan time.Time, 1)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- time.Now()
		time.Sleep(late)
	}))
	defer server.Close()
	relay, err := delay.Listen(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	relay.SetDelay(late)
	begin := time.Now()
	res, err := http.Get("http://" + relay.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if held, took := (<-asked).Sub(begin), time.Since(begin); held >= late || took >= 2*late {
		t.Errorf("the store was asked after %v, and its answer here after %v, with a delay of %v", held, took, late)
	}
}

// Requests on one connection are trips of their own.
func TestRelayTellsRequestsApart(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	relay, err := delay.Listen(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	for range 3 {
		res, err := http.Get("http://" + relay.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	if trips := relay.Take(); len(trips) != 3 {
		t.Errorf("3 requests on one connection were %d trips", len(trips))
	}
}

func TestWithin(t *testing.T) {
	trips := []delay.Trip{{Begin: 30, End: 50}, {Begin: 10, End: 20}, {Begin: 40, End: 60}, {Begin: 90, End: 120}, {Begin: 0, End: 4}}
	store, count := delay.Within(trips, 5, 100)
	if store != 10+30+10 || count != 4 {
		t.Errorf("%d ns in %d trips, want 50 in 4", store, count)
	}
}
