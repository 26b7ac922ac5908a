package outage

import (
	"fmt"
	"strings"
	"time"
)

// awsError is an error as DynamoDB answers it:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
type awsError struct {
	status int
	body   string
}

func refusal(status int, space, code, message string) awsError {
	return awsError{status, fmt.Sprintf(`{"__type":"%s#%s","message":"%s"}`, space, code, message)}
}

// The name spaces of DynamoDB's error codes: its own, and that of what checks
// requests before it.
const (
	ofDynamoDB = "com.amazonaws.dynamodb.v20120810"
	ofFront    = "com.amazon.coral.service"
)

var (
	throttling = refusal(400, "com.amazon.coral.availability", "ThrottlingException", "Rate of requests exceeds the allowed throughput.")
	exceeded   = refusal(400, ofDynamoDB, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.")
	internal   = refusal(500, ofDynamoDB, "InternalServerError", "The request processing has failed because of an unknown error, exception or failure.")
	denied     = refusal(400, ofFront, "AccessDeniedException", "User: arn:aws:sts::123456789012:assumed-role/jobs/jobs is not authorized to perform this action because no identity-based policy allows it")
	expired    = refusal(400, ofFront, "ExpiredTokenException", "The security token included in the request is expired")
	mismatch   = refusal(400, ofFront, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
)

// tolerance is how far a signature's time may be off.
const tolerance = 15 * time.Minute

const amzDate = "20060102T150405Z"

// checkClock passes a request that was signed at about the store's own time, and
// refuses others as DynamoDB does.
func checkClock(x *exchange) {
	signed, err := time.Parse(amzDate, x.r.Header.Get("X-Amz-Date"))
	now := x.clock.UTC()
	switch {
	case err != nil:
		x.refuse(mismatch)
	case signed.Before(now.Add(-tolerance)):
		x.refuse(refusal(400, ofFront, "InvalidSignatureException", fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)",
			signed.Format(amzDate), now.Add(-tolerance).Format(amzDate), now.Format(amzDate))))
	case signed.After(now.Add(tolerance)):
		x.refuse(refusal(400, ofFront, "InvalidSignatureException", fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)",
			signed.Format(amzDate), now.Add(tolerance).Format(amzDate), now.Format(amzDate))))
	default:
		x.pass()
	}
}

// checkKey passes a request that was signed with another access key than the
// one that has expired.
func checkKey(id string) treatment {
	return func(x *exchange) {
		if strings.Contains(x.r.Header.Get("Authorization"), "Credential="+id+"/") {
			x.refuse(expired)
			return
		}
		x.pass()
	}
}
