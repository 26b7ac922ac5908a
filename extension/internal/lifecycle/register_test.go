package lifecycle_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
)

func TestRegisterComesBeforeNext(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		want := []string{`POST register {"events":["INVOKE","SHUTDOWN"]}`, "GET event/next"}
		if diff := cmp.Diff(want, e.api.Called()); diff != "" {
			e.Error(diff)
		}
	})
}

func TestManagedInstancesAskForShutdownOnly(t *testing.T) {
	inLambda(t, func(l *lifecycle.Lifecycle) { l.Managed = true }, func(e *environment) {
		want := []string{`POST register {"events":["SHUTDOWN"]}`, "GET event/next"}
		if diff := cmp.Diff(want, e.api.Called()); diff != "" {
			e.Error(diff)
		}
	})
}

// An environment that refuses INVOKE without saying that it is a managed one
// will never tell the timeout, so nobody must wait for it.
func TestInvokeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnvironment(t)
		e.api.RefuseInvoke = true
		if err := e.life.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{`POST register {"events":["INVOKE","SHUTDOWN"]}`, `POST register {"events":["SHUTDOWN"]}`}
		if diff := cmp.Diff(want, e.api.Called()); diff != "" {
			t.Error(diff)
		}
		start := time.Now()
		if got := e.deadlines.Deadline(t.Context()).Sub(start); got != 15*time.Minute || time.Since(start) != 0 {
			t.Errorf("a claim holds for %v, after a wait of %v", got, time.Since(start))
		}
	})
}

func TestRegisterFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnvironment(t)
		e.life.API = extapi.New("api", "lambda-idempotency", roundTrip(func(*http.Request) (*http.Response, error) { return nil, errAway }))
		if err := e.life.Register(t.Context()); err == nil || !strings.Contains(err.Error(), "register") {
			t.Errorf("error %v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A thawed sandbox may find its connection broken.
func TestNextIsRepeatedWhenTheConnectionBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnvironment(t)
		broken := 0
		e.life.API = extapi.New("api", "lambda-idempotency", roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "event/next") && broken < 4 {
				broken++
				return nil, errAway
			}
			return e.api.RoundTrip(r)
		}))
		if err := e.life.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { e.ended <- e.life.Run(t.Context()) }()
		e.shutdown("spindown")
	})
}

func TestRunEnds(t *testing.T) {
	const unknown = `{"eventType":"TEA"}`
	tests := map[string]struct {
		script func(e *environment, api *extapitest.Server)
		want   string
	}{
		// Lambda asks an extension to end then.
		"500": {func(e *environment, api *extapitest.Server) { api.Send(e, 500, nil, "container error") }, "event/next answered 500: container error"},
		"403": {func(e *environment, api *extapitest.Server) { api.Send(e, 403, nil, "who?") }, "event/next answered 403: who?"},
		"no event": {func(e *environment, api *extapitest.Server) {
			for range 5 {
				api.Send(e, 200, nil, "tea")
			}
		}, "answered what is not an event"},
		"events of no known type": {func(e *environment, api *extapitest.Server) {
			for range 5 {
				api.Send(e, 200, nil, unknown)
			}
		}, `5 events in a row are of no known type, the last "TEA"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inLambda(t, nil, func(e *environment) {
				tt.script(e, e.api)
				err := <-e.ended
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					e.Errorf("error %v, want %q", err, tt.want)
				}
				e.ended <- nil
			})
		})
	}
}

func TestUnknownEventsAreNoHarm(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		for range 3 {
			e.api.Send(e, 200, nil, `{"eventType":"TEA"}`)
			e.api.Send(e, 200, nil, `{"eventType":"TEA"}`)
			e.invoke("a")
		}
		if got := e.log.at(slog.LevelWarn); len(got) != 6 {
			e.Errorf("warned %q", got)
		}
	})
}
