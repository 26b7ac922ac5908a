// Package client runs work once per key through the lambda-idempotency sidecar.
// It needs nothing but the standard library.
//
//	receipt, err := client.Do(ctx, "order-123", func(ctx context.Context) (Receipt, error) {
//		return charge(ctx, order)
//	})
//
// [Do] acquires the claim on the key, does the work, and completes the claim with
// the result or fails it with the error. A duplicate gets the result of the run
// that was, without running. [DoWith] takes more: a key of two parts, a key that
// the sidecar selects from an event, a payload, a scope, times. The verbs
// themselves are [Client.Acquire], [Client.Complete], [Client.Fail] and
// [Client.Renew].
//
// [DoBatch] does the same for many pieces of work with one call of each verb.
//
// # Errors
//
// The work's own error is returned as it was. Any other is one of these, to be
// told apart with errors.As:
//
//   - [*InProgressError]: another run holds the key
//   - [*FailedError]: an earlier run failed for good, see [Final]
//   - [*PayloadMismatchError]: the key was used with another payload
//   - [*ClaimLostError]: another run has taken the key, or ended the claim
//   - [*UnavailableError]: no sidecar, no answer, or no store
//   - [*ProblemError]: any other problem; what the sidecar answered is in the
//     chain of the three errors above, too
//
// # When the work is done and its end cannot be stored
//
// An error would make Lambda repeat work that is done. So the result is returned
// and one warning logged, with [log/slog.Default]. The sidecar goes on trying to
// store the end, and the claim holds until its deadline. Only if another run has
// taken the key is that a [*ClaimLostError]: what that run stores is what
// duplicates get.
//
// # In Lambda
//
// The context's deadline is the claim's. The invocation's request id lets the
// sidecar free the key at once when the invocation ends without a word: package
// lambdahandler takes it from the context of aws-lambda-go, and
// [WithRequestID] from anywhere else.
//
// # Tests
//
// With IDEMPOTENCY_DISABLED=true the work runs at once and no sidecar is called.
// Package clienttest has a sidecar for tests of what duplicates get.
package client
