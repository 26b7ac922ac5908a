// Command driver runs the handlers beside it and prints what that took, as JSON:
//
//	driver cold before|after bare|lambda
//	driver calls WARM ROUNDS
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clients/go/after"
	"github.com/lambda-idempotency/lambda-idempotency/bench/clients/go/before"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: driver cold before|after bare|lambda, or driver calls WARM ROUNDS")
	}
	d := driver{run: rand.Text()}
	var answer any
	if os.Args[1] == "cold" {
		answer = d.cold(os.Args[2])
	} else {
		answer = d.calls(number(os.Args[2]), number(os.Args[3]))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

type driver struct {
	run string // makes the keys of one process its own
}

// timed makes one invocation as the runtime client does, with the event's JSON.
func (d driver) timed(h lambda.Handler, number int) (time.Duration, []byte) {
	event := fmt.Appendf(nil, `{"JobId": "%s-%d", "ObjKey": "a/b"}`, d.run, number)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: fmt.Sprintf("request-%s-%d", d.run, number)})
	begin := time.Now()
	result, err := h.Invoke(ctx, event)
	took := time.Since(begin)
	cancel()
	if err != nil {
		log.Fatal(err)
	}
	return took, result
}

// cold tells of the first call. What a program loads it has loaded when main begins.
func (d driver) cold(which string) map[string]time.Duration {
	begin := time.Now()
	h := before.Handler()
	if which == "after" {
		h = after.Handler()
	}
	load := time.Since(begin)
	call, _ := d.timed(h, 0)
	return map[string]time.Duration{"load_ns": load, "call_ns": call}
}

func (d driver) calls(warm, rounds int) map[string][]time.Duration {
	times := map[string][]time.Duration{}
	plain, protected := before.Handler(), after.Handler()
	for number := range warm + rounds {
		var one []byte
		for _, call := range []struct {
			kind    string
			handler lambda.Handler
		}{{"plain", plain}, {"first", protected}, {"plain", plain}, {"duplicate", protected}} {
			took, result := d.timed(call.handler, number)
			if one == nil {
				one = bytes.TrimSpace(result)
			}
			if !bytes.Equal(one, bytes.TrimSpace(result)) {
				log.Fatalf("the results differ: %s and %s", one, result)
			}
			if number >= warm {
				times[call.kind] = append(times[call.kind], took)
			}
		}
	}
	return times
}
