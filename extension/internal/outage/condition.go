package outage

import (
	"context"
	"net/http"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// Condition is one way in which the store is slow or away.
type Condition struct {
	Name string
	Want Want

	door  doorState
	treat treatment
	// clock is how far the store's clock is ahead of the sidecar's.
	clock time.Duration
	// endpoint, if set, is where a sidecar looks for the store that never finds it.
	endpoint string
	// credentials, if not 0, come from a container's endpoint and last that long.
	credentials time.Duration
	// give is what that endpoint does while the condition holds.
	give func(*credentialsEndpoint)
	// tight: the calls are served within what they have, but with little to spare
	// for a machine that is busy.
	tight bool
	// dropTable deletes the table, and makes a new one when the store is back.
	dropTable bool
}

// Want is what a caller must be told under a condition.
type Want struct {
	// Served: the store is good enough for a call with seconds left; one with 300
	// ms left may be served or not.
	Served bool
	// Throttled tells the problem's code, where a call is not served.
	Throttled bool
	// Detail is what the problem's detail must hold, of a call with seconds left,
	// and ShortDetail of one with 300 ms left.
	Detail, ShortDetail string
	// Taken: a write may have been taken all the same.
	Taken bool
	// TableGone: what was recorded before is lost.
	TableGone bool
	// NotOwed: the end is asked of a sidecar that did not grant the claim, which
	// leaves repeating it to the handler.
	NotOwed bool
}

const (
	inTime      = "DynamoDB did not answer in time"
	unreachable = "DynamoDB cannot be reached; see the function's network"
	unconnected = "no connection to DynamoDB was made in time; try again, or see the function's network"
	broken      = "the connection to DynamoDB broke before an answer came"
	refused     = "DynamoDB refuses the function's credentials"
	throttles   = "DynamoDB throttles table"
)

// latency holds each request half of the time on its way, and each answer.
func latency(d time.Duration) treatment {
	return func(x *exchange) {
		x.wait(d / 2)
		a := x.send()
		x.wait(d / 2)
		x.answer(a)
	}
}

func always(e awsError) treatment { return func(x *exchange) { x.refuse(e) } }

// lose lets the request take effect, and closes the connection unanswered.
func lose(x *exchange) {
	x.send()
	panic(http.ErrAbortHandler)
}

// Conditions are all that are measured.
func Conditions() []Condition {
	away := func(detail string) Want { return Want{Detail: detail, ShortDetail: detail} }
	throttled := Want{Throttled: true, Detail: throttles, ShortDetail: throttles}
	served := Want{Served: true, ShortDetail: inTime}
	slow := Want{Detail: inTime, ShortDetail: inTime, Taken: true}
	return []Condition{
		{Name: "latency 1 ms", treat: latency(time.Millisecond), Want: served},
		{Name: "latency 10 ms", treat: latency(10 * time.Millisecond), Want: served},
		{Name: "latency 100 ms", treat: latency(100 * time.Millisecond), Want: served},
		{Name: "latency 1 s", treat: latency(time.Second), tight: true, Want: served},
		{Name: "latency 3 s", treat: latency(3 * time.Second), Want: slow},
		{Name: "latency 10 s", treat: latency(10 * time.Second), Want: slow},
		{Name: "address that does not answer (blackhole)", door: doorSilent, treat: (*exchange).hang, Want: Want{Detail: unreachable, ShortDetail: unconnected}},
		{Name: "no route (ENETUNREACH)", endpoint: noRoute, Want: Want{Detail: unreachable, ShortDetail: unreachable, NotOwed: true}},
		{Name: "connection refused", door: doorShut, treat: (*exchange).hang, Want: away(unreachable)},
		{Name: "connection accepted, never answered", treat: (*exchange).hang, Want: away(inTime)},
		{Name: "connection closed, the answer lost", treat: lose, Want: Want{Detail: broken, ShortDetail: broken, Taken: true}},
		{Name: "`ThrottlingException`", treat: always(throttling), Want: throttled},
		{Name: "`ProvisionedThroughputExceededException`", treat: always(exceeded), Want: throttled},
		{Name: "500 `InternalServerError`", treat: always(internal), Want: away("DynamoDB answered InternalServerError")},
		{Name: "table deleted under way", dropTable: true, Want: Want{Detail: "does not exist", ShortDetail: "does not exist", TableGone: true}},
		{Name: "permission taken away", treat: always(denied), Want: away("give the function's role dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem")},
		{Name: "credentials of the environment expired", treat: checkKey(dynamodblocal.AccessKeyID), Want: away(refused)},
		{Name: "credentials revoked, their endpoint has new ones", treat: checkKey(firstKey), credentials: time.Hour,
			give: func(c *credentialsEndpoint) { c.set(secondKey, false) }, Want: served},
		// The SDK asks again five minutes before credentials expire, so these are
		// asked for at each call.
		{Name: "credentials expired, their endpoint is silent", credentials: 4 * time.Minute,
			give: func(c *credentialsEndpoint) { c.set(firstKey, true) }, Want: away("the environment's own endpoint gives no AWS credentials")},
		{Name: "clock 20 minutes slow", treat: checkClock, clock: 20 * time.Minute, Want: served},
		{Name: "clock 20 minutes fast", treat: checkClock, clock: -20 * time.Minute, Want: served},
		{Name: "signature refused, the clock is right", treat: always(mismatch), Want: away(refused)},
	}
}

// noRoute is a multicast address: Linux makes no TCP connection to one, and says
// that the network is unreachable.
const noRoute = "http://224.0.0.1:8000"

// begin makes the condition hold.
func (c Condition) begin(ctx context.Context, w *world) error {
	if c.give != nil {
		c.give(w.credentials)
	}
	if c.dropTable {
		if err := w.dropTable(ctx); err != nil {
			return err
		}
	}
	return w.link.impair(c.door, c.treat, c.clock)
}

// end brings the store back.
func (c Condition) end(ctx context.Context, w *world) error {
	if c.give != nil {
		w.credentials.set(secondKey, false)
	}
	if c.dropTable {
		if err := w.createTable(ctx); err != nil {
			return err
		}
	}
	return w.link.mend()
}
