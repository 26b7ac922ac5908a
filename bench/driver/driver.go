// Package driver runs a contender in a process of its own and tells it what to do.
package driver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// patience is how long an answer may take; a batch of 1,000 records takes seconds.
const patience = 5 * time.Minute

// Order is what a contender is told to do.
type Order struct {
	Do      string `json:"do"` // a handler's name, or "resident"
	Events  []any  `json:"events,omitempty"`
	Left    int    `json:"left"`              // milliseconds that each invocation has
	Results bool   `json:"results,omitempty"` // are asked for
	MayFail bool   `json:"may_fail,omitempty"`
}

// Answer is what came of it.
type Answer struct {
	Calls    [][2]int64        `json:"calls"`    // begin and end of each, by the monotonic clock
	CPU      int64             `json:"cpu"`      // nanoseconds, of all of them
	Ran      int               `json:"ran"`      // how often the work was done
	Resident int64             `json:"resident"` // bytes
	Results  []json.RawMessage `json:"results"`
}

// Driver is a running one.
type Driver struct {
	Loaded Answer // of the handler's module: one call

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
}

// Start starts a process and waits until it has loaded its handler.
func Start(ctx context.Context, env []string, command ...string) (*Driver, error) {
	d := &Driver{cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	d.cmd.Env, d.cmd.Stderr = env, &d.stderr
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if d.Loaded, err = d.read(); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

// PID is the number of the process.
func (d *Driver) PID() int { return d.cmd.Process.Pid }

// Do tells it what to do, and waits until it is done.
func (d *Driver) Do(o Order) (Answer, error) {
	line, err := json.Marshal(o)
	if err != nil {
		return Answer{}, err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return Answer{}, d.broken(err)
	}
	return d.read()
}

// Die tells it to do what it does not survive.
func (d *Driver) Die(o Order) error {
	if _, err := d.Do(o); err == nil {
		return fmt.Errorf("%s did not end", strings.Join(d.cmd.Args, " "))
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %d: %s", strings.Join(d.cmd.Args, " "), code, d.stderr.String())
	}
	return nil
}

// Stop ends it.
func (d *Driver) Stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

func (d *Driver) read() (Answer, error) {
	timer := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		return Answer{}, d.broken(err)
	}
	var a Answer
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s printed %q: %w", strings.Join(d.cmd.Args, " "), line, err)
	}
	return a, nil
}

// broken tells why it says nothing more.
func (d *Driver) broken(err error) error {
	_ = d.in.Close()
	_ = d.cmd.Wait()
	return fmt.Errorf("%s: %w: %s", strings.Join(d.cmd.Args, " "), err, strings.TrimSpace(d.stderr.String()))
}
