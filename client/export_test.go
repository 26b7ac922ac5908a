package client

import "time"

// Patient is a client that waits no longer than this for an answer.
func Patient(url string, patience time.Duration) *Client {
	return &Client{URL: url, patience: patience}
}
