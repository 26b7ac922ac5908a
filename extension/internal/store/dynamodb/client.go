package dynamodb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/schemas"
	"github.com/aws/smithy-go"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The waits of one attempt. An invocation has seconds, so an attempt on a dead
// connection must end early enough for another one.
const (
	dialTimeout   = time.Second
	tlsTimeout    = 2 * time.Second
	answerTimeout = 2 * time.Second
	// idleTimeout is judged by the wall clock when a connection is taken for
	// use, so one that went stale while the sandbox was frozen is not used.
	idleTimeout = 20 * time.Second
	// credentialsTimeout bounds a call for credentials to a container's endpoint,
	// which is this host. The SDK bounds it by nothing, not even by the call that
	// needs them, and lets all later calls wait for the same answer.
	credentialsTimeout = 2 * time.Second
	// maxIdleConns is how many connections a burst of calls leaves open.
	maxIdleConns = 64
	// maxAttempts holds where AWS_MAX_ATTEMPTS does not say; the call's own
	// deadline ends the attempts earlier.
	maxAttempts  = 8
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
)

// client calls DynamoDB with the parts that the SDK's own client is made of:
// its settings, credentials, endpoints, types, serialisation, signature and rules
// of retrying. The SDK's client puts a stack of middlewares together anew for each
// call; in make bench's profile the SDK had 107 µs of a request's processor time
// so, and has 37 without it.
type client struct {
	http     http.RoundTripper
	options  dynamodb.Options
	table    string // may be an ARN, which names an account
	fetched  *aws.CredentialsCache
	retryer  aws.RetryerV2
	signer   *v4.Signer
	endpoint atomic.Pointer[endpoint]
	// skew is how far DynamoDB's clock is ahead of this host's, in nanoseconds.
	skew atomic.Int64
}

// endpoint is where an account's calls go.
type endpoint struct {
	account string
	url     url.URL
	region  string // of the signature
}

// The operations.
var (
	getItem    = smithy.NewOperationSchema(schemas.GetItem, schemas.GetItemInput, schemas.GetItemOutput)
	putItem    = smithy.NewOperationSchema(schemas.PutItem, schemas.PutItemInput, schemas.PutItemOutput)
	updateItem = smithy.NewOperationSchema(schemas.UpdateItem, schemas.UpdateItemInput, schemas.UpdateItemOutput)
)

func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = tlsTimeout
			t.ResponseHeaderTimeout = answerTimeout
			t.IdleConnTimeout = idleTimeout
			t.MaxIdleConns = maxIdleConns
			t.MaxIdleConnsPerHost = maxIdleConns
		})
}

func newClient(opt Options) (*client, error) {
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithHTTPClient(newHTTPClient()),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) {
			o.HTTPClient = newHTTPClient().WithTimeout(credentialsTimeout)
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.Backoff = retry.BackoffDelayerFunc(backoff) })
		}))
	if err != nil {
		return nil, err
	}
	fetched, _ := cfg.Credentials.(*aws.CredentialsCache)
	if fetched != nil && slices.Contains(fetched.ProviderSources(), aws.CredentialSourceEnvVars) {
		fetched = nil // They came with the environment: there are no others.
	}
	transport := opt.Transport
	if made, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok && transport == nil {
		transport = wary{made.GetTransport()} // With what the environment adds to it, as AWS_CA_BUNDLE.
	}
	if cfg.RetryMaxAttempts == 0 {
		cfg.RetryMaxAttempts = maxAttempts
	}
	cfg.Logger = logging.Nop{} // What it would say is told with the call's error.
	return &client{
		http:    transport,
		options: dynamodb.NewFromConfig(cfg).Options(),
		table:   opt.Table,
		fetched: fetched,
		signer:  v4.NewSigner(),
		retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = cfg.RetryMaxAttempts
			o.Backoff = retry.BackoffDelayerFunc(backoff)
		}),
	}, nil
}

// backoff is the pause before a retry: random up to a bound that
// doubles, so that callers that failed together do not come back together. The
// bound starts where AWS's own DynamoDB clients start, well within an invocation:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html#Programming.Errors.RetryAndBackoff
func backoff(attempt int, _ error) (time.Duration, error) {
	bound := min(firstBackoff<<min(attempt, 10), maxBackoff)
	return rand.N(bound), nil
}

// call calls an operation until it is answered or its attempts, or ctx, are at
// their end. It returns what the attempts met, too.
func (c *client) call(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) (*attempts, error) {
	met := &attempts{endpoint: c.fetched != nil && slices.Contains(c.fetched.ProviderSources(), aws.CredentialSourceHTTP)}
	release := func(error) error { return nil }
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return met, err
		}
		began, err := c.retryer.GetAttemptToken(ctx)
		if err != nil {
			return met, err
		}
		again, err := c.attempt(ctx, met, op, in, out)
		_, _ = release(err), began(err) // They never fail.
		if err == nil {
			return met, nil
		}
		met.note(err)
		if !again && !c.retryer.IsErrorRetryable(err) || n >= c.retryer.MaxAttempts() {
			return met, err
		}
		var spent error
		if release, spent = c.retryer.GetRetryToken(ctx, err); spent != nil {
			return met, errors.Join(err, spent)
		}
		pause, _ := c.retryer.RetryDelay(n, err) // It never fails.
		select {
		case <-ctx.Done():
			return met, &aws.RequestCanceledError{Err: ctx.Err()}
		case <-time.After(pause):
		}
	}
}

// attempt is one of a call's. again: what failed it is mended.
func (c *client) attempt(ctx context.Context, met *attempts, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) (again bool, err error) {
	req, skew, err := c.request(met.trace(ctx), op, in)
	if err != nil {
		return false, err
	}
	sent := time.Now()
	res, err := c.http.RoundTrip(req)
	received := time.Now()
	if err != nil {
		if ctx.Err() != nil {
			return false, &smithy.CanceledError{Err: ctx.Err()}
		}
		return false, &smithyhttp.RequestSendError{Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	answer := &smithyhttp.Response{Response: res}
	if err = c.options.Protocol.DeserializeResponse(ctx, op, dynamodb.TypeRegistry, answer, out); err != nil {
		err = &smithyhttp.ResponseError{Response: answer, Err: err}
	}
	// By the wall clock, which goes on while the sandbox is frozen.
	frozen := received.Round(0).Sub(sent.Round(0)) > skewMost
	refused := c.refusedByClock(res.Header, received, frozen, skew, err)
	return refused || c.refusedAsExpired(err), err
}

// request makes a signed request. The signature's time is skew ahead of this
// host's clock.
func (c *client) request(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable) (req *http.Request, skew time.Duration, err error) {
	credentials, err := c.credentials(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("get credentials: %w", err)
	}
	to, err := c.resolve(ctx, credentials.AccountID)
	if err != nil {
		return nil, 0, err
	}
	at := to.url
	serialised := &smithyhttp.Request{Request: &http.Request{URL: &at, Header: http.Header{
		"User-Agent": {"lambda-idempotency " + aws.SDKName + "/" + aws.SDKVersion},
		// Answers are small, and a large result is compressed already.
		"Accept-Encoding": {"identity"},
	}}}
	if err := c.options.Protocol.SerializeRequest(ctx, op, in, serialised); err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(serialised.GetStream())
	if err != nil {
		return nil, 0, err
	}
	req = serialised.WithContext(ctx)
	req.Host, req.ContentLength = at.Host, int64(len(body))
	// As what net/http knows to be in memory, so that it goes out in one piece with the headers.
	req.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	skew = time.Duration(c.skew.Load())
	err = c.signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "dynamodb", to.region, time.Now().Add(skew))
	return req, skew, err
}

func (c *client) credentials(ctx context.Context) (aws.Credentials, error) {
	if c.options.Credentials == nil {
		return aws.Credentials{}, errors.New("there are none")
	}
	return c.options.Credentials.Retrieve(ctx)
}

// resolve finds the endpoint, which may be an account's own:
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html
func (c *client) resolve(ctx context.Context, account string) (*endpoint, error) {
	if known := c.endpoint.Load(); known != nil && known.account == account {
		return known, nil
	}
	o := c.options
	parameters := dynamodb.EndpointParameters{
		Endpoint:              o.BaseEndpoint,
		ResourceArn:           &c.table,
		UseDualStack:          aws.Bool(o.EndpointOptions.GetUseDualStackEndpoint() == aws.DualStackEndpointStateEnabled),
		UseFIPS:               aws.Bool(o.EndpointOptions.GetUseFIPSEndpoint() == aws.FIPSEndpointStateEnabled),
		AccountIdEndpointMode: aws.String(string(o.AccountIDEndpointMode)),
	}
	if o.Region != "" {
		if !hostLabel.MatchString(o.Region) {
			return nil, fmt.Errorf("%q is no name of an AWS Region", o.Region)
		}
		parameters.Region = &o.Region
	}
	if account != "" && o.AccountIDEndpointMode != aws.AccountIDEndpointModeDisabled {
		parameters.AccountId = &account
	}
	found, err := o.EndpointResolverV2.ResolveEndpoint(ctx, parameters.WithDefaults())
	if err != nil {
		return nil, fmt.Errorf("resolve the endpoint: %w", err)
	}
	to := &endpoint{account: account, region: o.Region, url: url.URL{Scheme: found.URI.Scheme, Host: found.URI.Host, Path: found.URI.Path, RawPath: found.URI.RawPath}}
	schemes, _ := smithyauth.GetAuthOptions(&found.Properties)
	for _, scheme := range schemes {
		if region, ok := smithyhttp.GetSigV4SigningRegion(&scheme.SignerProperties); ok {
			to.region = region
		}
	}
	c.endpoint.Store(to)
	return to, nil
}

// hostLabel is what a region has to be, as a part of an endpoint's name.
var hostLabel = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,62}$`)

// skewMost is how far apart clocks may be before DynamoDB refuses a signature,
// which it does from five minutes on, with a minute for the way:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
const skewMost = 4 * time.Minute

// refusedByClock learns from an answer how far ahead DynamoDB's clock is, and tells
// whether the request, signed with another skew, was refused for that. A call that
// was frozen on its way tells nothing of clocks.
func (c *client) refusedByClock(header http.Header, received time.Time, frozen bool, skew time.Duration, err error) bool {
	if c.options.DisableClockSkewCorrection {
		return false
	}
	var api smithy.APIError
	refused := errors.As(err, &api) && slices.Contains(clockCodes, api.ErrorCode())
	date, wrong := http.ParseTime(header.Get("Date"))
	if wrong != nil || frozen || header.Get("Age") != "" { // The latter is a cache's.
		if refused && skew != 0 { // What was learned may have been of a proxy's clock.
			c.skew.Store(0)
			return true
		}
		return false
	}
	ahead := date.Sub(received.Round(0))
	c.skew.Store(int64(ahead))
	return refused && (ahead-skew).Abs() > skewMost
}

// clockCodes are what DynamoDB may answer to a signature of another time.
var clockCodes = []string{"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "RequestTimeTooSkewed", "AccessDeniedException"}

// expiredToken is what DynamoDB answers to credentials past their time.
const expiredToken = "ExpiredTokenException"

// refusedAsExpired gives up fetched credentials that DynamoDB calls expired, and
// tells whether it did. They are fetched anew whatever this host's clock says of
// them: they may have been revoked, or the clock be slow.
func (c *client) refusedAsExpired(err error) bool {
	var api smithy.APIError
	if c.fetched == nil || !errors.As(err, &api) || api.ErrorCode() != expiredToken {
		return false
	}
	c.fetched.Invalidate()
	return true
}
