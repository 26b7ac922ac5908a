package client

import (
	"errors"
	"fmt"
	"reflect"
)

// Final marks an error of the work as one that no other run could avoid. The
// failure then stands: the key is not free for a retry, and duplicates get a
// [*FailedError]. The mark is found through errors that wrap it; it changes
// neither the error's text nor what errors.Is and errors.As find. Final(nil) is
// nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func isFinal(err error) bool {
	var mark *finalError
	return errors.As(err, &mark)
}

// unmarked is the error as the work had it, before it was marked.
func unmarked(err error) error {
	for {
		mark, ok := err.(*finalError) //nolint:errorlint // Only the outermost marks are taken off.
		if !ok {
			return err
		}
		err = mark.err
	}
}

// failureOf is what is stored of an error. Its type is that of the first error in
// the chain that is more than a text put around another.
func failureOf(err error) *Failure {
	named := err
	for {
		t := reflect.TypeOf(named)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		inner := errors.Unwrap(named)
		if _, mark := named.(*finalError); inner == nil || !mark && t.PkgPath() != "fmt" { //nolint:errorlint // One link of the chain.
			break
		}
		named = inner
	}
	return &Failure{Type: fmt.Sprintf("%T", named), Message: err.Error()}
}
