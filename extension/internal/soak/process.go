package soak

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

const (
	// descriptors is how many files a process in Lambda may have open:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	descriptors = 1024
	// secret is what callers prove themselves with.
	secret = "the-secret-of-the-soak"
)

// Process is the program, running under Lambda's limit of descriptors.
type Process struct{ *program.Process }

// Start starts the program at path with env, and waits until it listens. Its
// output goes to a folder in folder.
func Start(ctx context.Context, path, folder string, env ...string) (*Process, error) {
	p, err := program.Serve(ctx, folder, program.FewDescriptors(path, descriptors), append([]string{"IDEMPOTENCY_AUTH_TOKEN=" + secret}, env...)...)
	if err != nil {
		return nil, err
	}
	return &Process{p}, nil
}

func (p *Process) ended() bool {
	select {
	case <-p.Ended():
		return true
	default:
		return false
	}
}

func (p *Process) dial(ctx context.Context) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Timeout: answerLimit}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)))
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("not a TCP connection")
	}
	return tcp, nil
}
