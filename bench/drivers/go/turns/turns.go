// Package turns makes a driver of a handler: it does what it is told, a line of JSON in and one out.
package turns

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clock"
)

// Job is the event.
type Job struct {
	JobID  string `json:"JobId"`
	ObjKey string
	Text   string `json:",omitempty"`
}

// Receipt is the result.
type Receipt struct {
	Done string `json:"done"`
	Text string `json:"text"`
}

var ran int

// Work is what all handlers do.
func Work(_ context.Context, j Job) (Receipt, error) {
	ran++
	return Receipt{Done: j.JobID, Text: j.Text}, nil
}

var done = map[string]bool{}

// RecordWork is what is done for each record of a queue. It fails for a record that it was done for already: as many
// times without a failure are as many records.
func RecordWork(_ context.Context, m events.SQSMessage) error {
	ran++
	if done[m.MessageId] {
		return fmt.Errorf("%s was done already", m.MessageId)
	}
	done[m.MessageId] = true
	return nil
}

type order struct {
	Do      string            `json:"do"`
	Events  []json.RawMessage `json:"events"`
	Left    int64             `json:"left"` // milliseconds
	Results bool              `json:"results"`
}

type answer struct {
	Calls    [][2]int64        `json:"calls,omitempty"`
	CPU      int64             `json:"cpu,omitempty"`
	Ran      int               `json:"ran"`
	Resident int64             `json:"resident,omitempty"`
	Results  []json.RawMessage `json:"results,omitempty"`
}

// Serve hands the handler what comes in, as the runtime client would, until nothing more comes.
func Serve(h lambda.Handler) {
	log.SetFlags(0)
	run, out := rand.Text(), json.NewEncoder(os.Stdout)
	say := func(a answer) {
		if err := out.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
	say(answer{Calls: [][2]int64{{0, 0}}})
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			log.Fatal(err)
		}
		if o.Do == "resident" {
			say(answer{Resident: clock.Resident(os.Getpid())})
			continue
		}
		var a answer
		before, used := ran, clock.CPU(os.Getpid())
		for at, event := range o.Events {
			times, result := invoke(h, fmt.Sprintf("%s-%d", run, at), event, o.Left)
			a.Calls = append(a.Calls, times)
			if o.Results {
				a.Results = append(a.Results, result)
			}
		}
		a.CPU, a.Ran = clock.CPU(os.Getpid())-used, ran-before
		say(a)
	}
}

func invoke(h lambda.Handler, id string, event json.RawMessage, left int64) (times [2]int64, result json.RawMessage) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(left)*time.Millisecond)
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: id})
	begin := clock.Now()
	result, err := h.Invoke(ctx, event)
	end := clock.Now()
	cancel()
	if err != nil {
		log.Fatal(err)
	}
	return [2]int64{begin, end}, result
}
