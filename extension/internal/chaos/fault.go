package chaos

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Fault is a kind of fault on the way to the store.
type Fault string

// The faults. Those whose name begins with "answer" strike after the request
// took effect.
const (
	Latency           Fault = "latency"
	RequestDropped    Fault = "request dropped"
	RequestReset      Fault = "request reset"
	RequestLate       Fault = "request late" // given up on, and applied later all the same
	AnswerDropped     Fault = "answer dropped"
	AnswerClosed      Fault = "answer closed"
	AnswerCut         Fault = "answer cut" // reset in the middle
	AnswerInternal    Fault = "answer replaced by 500"
	InternalError     Fault = "500 InternalServerError"
	Throttled         Fault = "ThrottlingException"
	ThroughputExceded Fault = "ProvisionedThroughputExceededException"
	Pause             Fault = "pause of seconds"
	SidecarKilled     Fault = "sidecar killed"
)

// odds are how many of 100 requests meet a fault.
var odds = []struct {
	fault   Fault
	percent float64
}{
	{Latency, 4},
	{RequestDropped, 0.3},
	{RequestReset, 1.5},
	{RequestLate, 1.5},
	{AnswerDropped, 0.3},
	{AnswerClosed, 2},
	{AnswerCut, 1},
	{AnswerInternal, 1},
	{InternalError, 1},
	{Throttled, 1},
	{ThroughputExceded, 1},
}

// Bounds of the faults.
const (
	latencyMost = 300 * time.Millisecond
	// droppedFor is how long a dropped request or answer is waited for before
	// the proxy closes the connection: longer than any client waits.
	droppedFor = 3 * time.Second
	lateMost   = 2 * time.Second
	pauseLeast = time.Second
	pauseMost  = 3 * time.Second
)

// pick chooses the fault of one request; empty: none.
func pick(d *dice) Fault {
	at := d.Float64() * 100
	for _, o := range odds {
		if at -= o.percent; at < 0 {
			return o.fault
		}
	}
	return ""
}

// Tally counts faults by kind. It is safe for concurrent use.
type Tally struct {
	mu sync.Mutex
	n  map[Fault]int
}

func (t *Tally) add(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[Fault]int{}
	}
	t.n[f]++
}

// counts returns the counts so far.
func (t *Tally) counts() map[Fault]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

// kinds returns the kinds of fault in a fixed order.
func kinds(counts map[Fault]int) []Fault { return slices.Sorted(maps.Keys(counts)) }

// awsError is an error as DynamoDB answers it:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
type awsError struct {
	status int
	body   string
}

var awsErrors = map[Fault]awsError{
	InternalError:     {500, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"The request processing has failed because of an unknown error, exception or failure."}`},
	AnswerInternal:    {500, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"The request processing has failed because of an unknown error, exception or failure."}`},
	Throttled:         {400, `{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate of requests exceeds the allowed throughput."}`},
	ThroughputExceded: {400, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."}`},
}
