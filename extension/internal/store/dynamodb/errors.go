package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// attempts notes the errors of a call's attempts. When the call's deadline ends
// the pause between two of them, the SDK tells of the deadline alone, and the
// caller could not tell throttling from silence.
type attempts struct {
	last error
	// connected: an attempt had a connection.
	connected atomic.Bool
	// endpoint: the credentials come from a container's endpoint.
	endpoint bool
}

func (a *attempts) note(err error) {
	if a.last == nil || undialled(err) || !errors.Is(err, context.DeadlineExceeded) {
		a.last = err
	}
}

// trace makes a context that has an attempt's connection noted.
func (a *attempts) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { a.connected.Store(true) }})
}

// undialled tells whether no connection could be made. Where it is for the dial's
// own limit of time, the error may look as if the call's deadline had come.
func undialled(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// unusable is the error of a client that could not be made.
func (s *Store) unusable(op string, err error) error {
	return &idempotency.StoreError{Op: op, Detail: fmt.Sprintf("the AWS settings of this environment cannot be used (%v); see the AWS_* variables", err), Err: err}
}

// failed makes an error of the SDK one that tells the caller what is wrong and
// the mend. Codes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
func (s *Store) failed(op string, met *attempts, err error) error {
	cause := err
	if met.last != nil {
		cause = met.last
	}
	out := &idempotency.StoreError{Op: op, Err: err}
	var api smithy.APIError
	if !errors.As(cause, &api) {
		out.Detail = unreached(met, cause)
		return out
	}
	switch code := api.ErrorCode(); code {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling", "SlowDown":
		out.Throttled = true
		out.Detail = fmt.Sprintf("DynamoDB throttles table %s; try again later, or give the table more capacity (on-demand tables grow by themselves)", s.opt.Table)
	case "ResourceNotFoundException":
		out.Detail = fmt.Sprintf("table %s does not exist in this region and account; create it, or set IDEMPOTENCY_TABLE_NAME", s.opt.Table)
	case "AccessDeniedException":
		out.Detail = fmt.Sprintf("access to table %s is denied; give the function's role %s on it", s.opt.Table, strings.Join(Actions(), ", "))
	case expiredToken, "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId", "RequestExpired":
		out.Detail = fmt.Sprintf("DynamoDB refuses the function's credentials (%s); they have expired, are not of this account, or the clock of this host is wrong", code)
	case "ValidationException":
		out.Detail = fmt.Sprintf("table %s does not fit (%s); see that IDEMPOTENCY_ATTR_ID and IDEMPOTENCY_SORT_KEY_ATTR name its key", s.opt.Table, api.ErrorMessage())
	default:
		out.Detail = fmt.Sprintf("DynamoDB answered %s for table %s; try again", code, s.opt.Table)
	}
	return out
}

// unreached says what is wrong where no answer of DynamoDB tells.
func unreached(met *attempts, cause error) string {
	const away = "DynamoDB cannot be reached; see the function's network (VPC endpoint or route to DynamoDB) and AWS_ENDPOINT_URL_DYNAMODB"
	text := cause.Error()
	switch {
	// Without credentials the SDK asks the instance metadata service, whose answer,
	// or silence, is not DynamoDB's.
	case strings.Contains(text, "get credentials"), strings.Contains(text, "get identity"), strings.Contains(text, "no EC2 IMDS role found"):
		if met.endpoint {
			return "the environment's own endpoint gives no AWS credentials; try again, or see AWS_CONTAINER_CREDENTIALS_FULL_URI"
		}
		return "there are no AWS credentials; in Lambda give the function a role, elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	case strings.Contains(text, "parse uri"), strings.Contains(text, "unsupported protocol scheme"):
		return "AWS_ENDPOINT_URL_DYNAMODB is not a URL; write it in full, as in http://127.0.0.1:8000"
	case undialled(cause):
		return away
	case errors.Is(cause, context.DeadlineExceeded) && !met.connected.Load():
		return "no connection to DynamoDB was made in time; try again, or see the function's network (VPC endpoint or route to DynamoDB)"
	case errors.Is(cause, context.DeadlineExceeded):
		return "DynamoDB did not answer in time; try again"
	case errors.Is(cause, context.Canceled):
		return "the call was cancelled by its caller"
	}
	var answer *smithyhttp.ResponseError
	if errors.As(cause, &answer) && answer.HTTPStatusCode() != 0 {
		return fmt.Sprintf("what answered in DynamoDB's place sent HTTP %d; try again, or see AWS_ENDPOINT_URL_DYNAMODB and HTTPS_PROXY", answer.HTTPStatusCode())
	}
	switch {
	case strings.Contains(text, "Region"):
		return "there is no AWS region of this name, or none is set; set AWS_REGION"
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF), errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return "the connection to DynamoDB broke before an answer came; try again"
	case strings.Contains(text, "awaiting response headers"):
		return "DynamoDB did not answer in time; try again"
	}
	return away
}
