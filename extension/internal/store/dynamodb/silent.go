package dynamodb

import (
	"errors"
	"net"
	"net/http"
)

// wary is a transport that drops its idle connections when one of them was
// silent: what has forgotten one has forgotten the others, and each further
// attempt on them would cost the wait of the first.
type wary struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t wary) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.Transport.RoundTrip(r)
	var silent net.Error
	if errors.As(err, &silent) && silent.Timeout() {
		t.CloseIdleConnections()
	}
	return res, err
}
