package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/config"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/metrics"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/file"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

const (
	// warmTimeout bounds the first look at the store, while Lambda waits.
	warmTimeout = 3 * time.Second
	// reportTimeout bounds what is told to Lambda of a start that failed.
	reportTimeout = 3 * time.Second
	// drainTimeout bounds the answers still under way at the end.
	drainTimeout = 300 * time.Millisecond
)

func newLog(cfg *config.Config, w io.Writer) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// sidecar is the wired program, listening.
type sidecar struct {
	engine   *idempotency.Engine
	store    idempotency.Store
	server   *httpapi.Server
	listener net.Listener
	proxy    *runtimeProxy // nil outside Lambda
	close    func() error
}

// newSidecar wires the program and opens its port. It does not reach out.
func newSidecar(ctx context.Context, cfg *config.Config, deadlines *lifecycle.Deadlines, log *slog.Logger) (*sidecar, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen on port %d (%w); set IDEMPOTENCY_PORT to a free one, and let the handler call that", cfg.Port, err)
	}
	count := metrics.New(version)
	store, closeStore, err := openStore(cfg, count)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	engine := idempotency.NewEngine(count.Store(store), idempotency.Options{
		Function:            cfg.Function,
		TTL:                 cfg.TTL,
		MaxAttempts:         cfg.MaxAttempts,
		ClockSkew:           cfg.ClockSkew,
		History:             cfg.History,
		ProceedOnStoreError: cfg.ProceedOnStoreError,
		Disabled:            cfg.Disabled,
		Now:                 time.Now,
		Random:              rand.Reader,
		Log:                 log,
		Observer:            count,
	})
	count.OpenClaims(engine.OpenClaims)
	keys := idempotency.Keys{Scope: cfg.Scope, SortKey: cfg.Store == config.StoreDynamoDB && cfg.Attributes.Sort != ""}
	var proxy *runtimeProxy
	if cfg.InLambda() {
		if proxy, err = newRuntimeProxy(ctx, cfg, engine, keys, log); err != nil {
			_ = listener.Close()
			return nil, errors.Join(err, closeStore())
		}
	}
	handler := httpapi.New(httpapi.Options{
		Engine:      engine,
		Keys:        keys,
		KeyJMESPath: cfg.KeyJMESPath,
		AuthToken:   cfg.AuthToken,
		Deadlines:   deadlines,
		Metrics:     count.Handler(),
		Observer:    count,
		Now:         time.Now,
		Log:         log,
	})
	return &sidecar{engine: engine, store: store, server: httpapi.NewServer(handler, log), listener: listener, proxy: proxy, close: closeStore}, nil
}

func openStore(cfg *config.Config, count *metrics.Metrics) (idempotency.Store, func() error, error) {
	none := func() error { return nil }
	switch cfg.Store {
	case config.StoreFile:
		s, err := file.Open(cfg.FilePath, time.Now)
		if err != nil {
			return nil, nil, fmt.Errorf("IDEMPOTENCY_STORE: %w", err)
		}
		return s, s.Close, nil
	case config.StoreMemory:
		return memory.New(time.Now), none, nil
	}
	return dynamodb.New(dynamodb.Options{Table: cfg.TableName, Attributes: cfg.Attributes, OnCapacity: count.Capacity}), none, nil
}

// serve answers calls until stop is called; failed gets an error that ended it
// earlier.
func (s *sidecar) serve() (failed <-chan error) {
	ctx, stop := context.WithCancel(context.Background())
	s.server.RegisterOnShutdown(stop)
	go s.engine.RetryOwed(ctx)
	ended := make(chan error, 2)
	serve := func(server interface{ Serve(l net.Listener) error }, l net.Listener) {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			ended <- err
		}
	}
	go serve(s.server, s.listener)
	if s.proxy != nil {
		go serve(s.proxy.server, s.proxy.listener)
	}
	return ended
}

// stop lets the answers under way end, and closes the store.
func (s *sidecar) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	_ = s.server.Shutdown(ctx)
	_ = s.server.Close()
	if s.proxy != nil {
		_ = s.proxy.server.Close()
	}
	return s.close()
}

// warm opens the connection to the store and says what is wrong with it. The
// extension goes on: a table can be made, a permission given, and until then
// each call is answered with the same words.
func (s *sidecar) warm(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), warmTimeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		log.Error("the store cannot be used now", "error", err)
	}
}

// started says in words where the API is and where records are kept.
func (s *sidecar) started(cfg *config.Config) string {
	where := "stores in the DynamoDB table " + cfg.TableName
	switch {
	case cfg.Disabled:
		where = "stores nothing, because IDEMPOTENCY_DISABLED is true"
	case cfg.Store == config.StoreFile:
		where = "stores in the file " + cfg.FilePath
	case cfg.Store == config.StoreMemory:
		where = "stores in memory"
	}
	return fmt.Sprintf("lambda-idempotency %s listens on http://%s and %s", version, s.listener.Addr(), where)
}

// runLocal serves the API until the process is told to stop. Claims stay as they
// are: their handlers are other processes, which may go on.
func runLocal(ctx context.Context, cfg *config.Config, stdout io.Writer, log *slog.Logger, err error) error {
	if err != nil {
		return err
	}
	s, err := newSidecar(ctx, cfg, lifecycle.FixedDeadlines(time.Now, cfg.Lease, nil), log)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(stdout, s.started(cfg))
	failed := s.serve()
	if cfg.Store == config.StoreDynamoDB && !cfg.Disabled {
		go s.warm(log)
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	if cerr := s.stop(); err == nil {
		err = cerr
	}
	return err
}

// runExtension lives in a Lambda environment, in the order of start that its
// phases ask for: listen, register, and warm the store while init CPU is free.
// The environment's end is told by SHUTDOWN, not by a signal.
func runExtension(ctx context.Context, cfg *config.Config, log *slog.Logger, err error) error {
	api := extapi.New(cfg.RuntimeAPI, extensionName(), nil)
	deadlines := lifecycle.LearnedDeadlines(time.Now, cfg.Lease, log)
	if cfg.Managed {
		deadlines = lifecycle.FixedDeadlines(time.Now, cfg.Lease, log)
	}
	var s *sidecar
	if err == nil {
		s, err = newSidecar(ctx, cfg, deadlines, log)
	}
	if err != nil {
		return giveUp(ctx, api, log, err)
	}
	failed := s.serve()
	if cfg.Disabled {
		log.Warn(s.started(cfg)) // That work runs unguarded must not go unseen.
	} else {
		log.Debug(s.started(cfg))
	}
	life := &lifecycle.Lifecycle{
		API: api, Claims: s.engine, Deadlines: deadlines,
		Managed: cfg.Managed, FailOnTimeout: cfg.FailOnTimeout, Log: log,
	}
	if err := life.Register(ctx); err != nil {
		return err
	}
	if !cfg.Disabled {
		s.warm(log)
	}
	ended := make(chan error, 1)
	go func() { ended <- life.Run(ctx) }()
	select {
	case err = <-ended:
	case err = <-failed:
		err = fmt.Errorf("the API's listener broke: %w", err)
		report, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		_ = api.ExitError(report, "Idempotency.Listener", err)
	}
	if cerr := s.stop(); err == nil {
		err = cerr
	}
	return err
}

// giveUp reports a start that cannot succeed: to the log first, because Lambda
// may end the environment as soon as it is told. It takes the report from a
// registered extension only.
func giveUp(ctx context.Context, api *extapi.Client, log *slog.Logger, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	cause = errors.New("the extension cannot start: " + onOneLine(cause))
	log.Error(cause.Error())
	err := api.Register(ctx, extapi.Shutdown)
	if err == nil {
		err = api.InitError(ctx, "Idempotency.ConfigError", cause)
	}
	if err != nil {
		log.Error("and Lambda could not be told: " + err.Error())
	}
	return errLogged
}

// extensionName is the file name that Lambda called, which it demands. A link's
// name is that, its target's is not.
func extensionName() string { return filepath.Base(os.Args[0]) }
