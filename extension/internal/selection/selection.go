// Package selection makes the key of an event: what a JMESPath expression selects
// from it, hashed over exact canonical JSON.
package selection

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// maxNamedNulls is how many members a warning names.
const maxNamedNulls = 8

// ErrMissing tells that the expression selects null, nothing, or only nulls, which
// is never a key.
var ErrMissing = errors.New("nothing to make a key of")

// Selection selects the key from events. The zero value, or nil, takes the whole
// event.
type Selection struct {
	text       string
	expression *canon.Expression
	warned     sync.Once
}

// New compiles an expression; an empty one takes the whole event.
func New(text string) (*Selection, error) {
	s := &Selection{text: text}
	if text == "" {
		return s, nil
	}
	var err error
	s.expression, err = canon.Compile(text)
	return s, err
}

// Text is the expression.
func (s *Selection) Text() string { return s.text }

// Hash is the hash of what is selected. A selection that turns out to be heavy
// begins anew after alone, which waits until no other is made: many at once could
// take all of a sandbox's memory. warn is told, once, of members that are null in
// a key that has others: a slip in a member's name would otherwise make one key of
// all events that differ only there.
//
// Errors: ErrMissing, that of alone, or that the expression cannot be applied to
// this event.
func (s *Selection) Hash(event canon.Value, alone func() error, warn func(nulls string)) (string, error) {
	if s.expression != nil {
		selected, light, err := s.expression.SelectLight(event)
		if !light {
			if err := alone(); err != nil {
				return "", err
			}
			selected, err = s.expression.Select(event)
		}
		if err != nil {
			return "", fmt.Errorf("cannot be applied to this event: %w", err)
		}
		event = selected
	}
	if canon.Missing(event) {
		return "", ErrMissing
	}
	if nulls := canon.NullMembers(event); s.expression != nil && len(nulls) > 0 {
		s.warned.Do(func() { warn(named(nulls)) })
	}
	return canon.Hash(event), nil
}

// named lists some of the members, each cut to what a log line can bear.
func named(members []string) string {
	const most = 60
	members = members[:min(len(members), maxNamedNulls)]
	short := make([]string, len(members))
	for i, m := range members {
		if short[i] = m; len(m) > most {
			short[i] = strings.ToValidUTF8(m[:most], "") + "…"
		}
	}
	return strings.Join(short, ", ")
}
