package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/config"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/selection"
)

// runtimeProxy is the proxy of the Runtime API, listening. It does nothing until
// the runtime comes through it.
type runtimeProxy struct {
	server   *http.Server
	listener net.Listener
}

// newRuntimeProxy opens the proxy's port. It returns nil where the port is taken
// and nobody asked for it.
func newRuntimeProxy(ctx context.Context, cfg *config.Config, claims runtimeproxy.Claims, keys idempotency.Keys, log *slog.Logger) (*runtimeProxy, error) {
	port := cmp.Or(cfg.ProxyPort, config.DefaultProxyPort)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	switch {
	case err != nil && cfg.ProxyPort == 0:
		// Most functions do not use it, and must not fail for it.
		log.Warn("there is no runtime proxy, because its port is taken; set IDEMPOTENCY_RUNTIME_PROXY_PORT to a free one", "port", port, "error", err)
		return nil, nil //nolint:nilnil // There is none.
	case err != nil:
		return nil, fmt.Errorf("cannot listen on port %d (%w); set IDEMPOTENCY_RUNTIME_PROXY_PORT to a free one", port, err)
	}
	selected, err := selection.New(cfg.KeyJMESPath)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("IDEMPOTENCY_KEY_JMESPATH: %w", err)
	}
	of := keyOf(cfg.KeyJMESPath, selected, keys, log)
	proxy := runtimeproxy.New(runtimeproxy.Options{
		Off:      cfg.Disabled,
		Upstream: cfg.UpstreamAPI,
		Claims:   claims,
		Key: func(event []byte, requestID string) (idempotency.Key, error) {
			if cfg.KeyIsRequestID {
				return keys.Given(nil, requestID)
			}
			return of(event)
		},
		RecordKey: func(record []byte, id string) (idempotency.Key, error) {
			if cfg.KeyJMESPath == "" {
				return keys.Given(nil, id)
			}
			return of(record)
		},
		Batch:          cfg.Batch,
		CountsAttempts: cfg.MaxAttempts > 0,
		OnInProgress:   runtimeproxy.InProgress(cfg.OnInProgress),
		RequireKey:     cfg.RequireKey,
		FailOnError:    cfg.FailOnError,
		Lease:          cfg.Lease,
		Now:            time.Now,
		Log:            log,
	})
	return &runtimeProxy{runtimeproxy.NewServer(proxy, log), listener}, nil
}

// bigEvent is the size over which events are parsed one at a time, as heavy
// selections are made: a parsed one takes many times its size, and Managed
// Instances bring many at once.
const bigEvent = 256 << 10

// keyOf selects the key from an event.
func keyOf(text string, selected *selection.Selection, keys idempotency.Keys, log *slog.Logger) func(event []byte) (idempotency.Key, error) {
	turn := make(chan struct{}, 1)
	return func(event []byte) (idempotency.Key, error) {
		mine := false
		alone := func() error {
			if !mine {
				turn <- struct{}{}
				mine = true
			}
			return nil
		}
		defer func() {
			if mine {
				<-turn
			}
		}()
		if len(event) > bigEvent {
			_ = alone()
		}
		value, err := canon.ParseEvent(event)
		if err != nil {
			return idempotency.Key{}, fmt.Errorf("the event has no exact meaning as JSON: %w", err)
		}
		hash, err := selected.Hash(value, alone, func(nulls string) {
			log.Warn("the key's expression selects null for some members; events that differ only there share a key", "key_jmespath", text, "null", nulls)
		})
		switch {
		case errors.Is(err, selection.ErrMissing) && text == "":
			return idempotency.Key{}, errors.New("the event is null or empty, or its members are all null")
		case errors.Is(err, selection.ErrMissing):
			return idempotency.Key{}, fmt.Errorf("IDEMPOTENCY_KEY_JMESPATH (%s) selects nothing from the event", text)
		case err != nil:
			return idempotency.Key{}, fmt.Errorf("IDEMPOTENCY_KEY_JMESPATH %w", err)
		}
		return keys.Selected(nil, hash)
	}
}
