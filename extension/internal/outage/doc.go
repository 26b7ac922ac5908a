// Package outage measures what a handler is told while DynamoDB is slow or
// away, and what the table holds afterwards.
//
// Each condition is made between a real sidecar and DynamoDB Local: slow links,
// addresses that nobody answers, refused connections, DynamoDB's own errors, a
// table that is deleted, credentials that expire, clocks that differ. While it
// holds, a handler acquires a new key and ends claims that it was granted
// before; then the store comes back and the records are looked at.
//
// # What is not covered
//
// The errors that DynamoDB Local does not make (throttling, permissions,
// credentials, clocks) are DynamoDB's answers as they are documented, sent by the
// link between the two.
package outage
