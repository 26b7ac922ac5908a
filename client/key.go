package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// Key names the work: one string, or two. On a table with a sort key the two are
// its partition and its sort part. Each has 1 to 1,024 bytes of valid UTF-8.
type Key []string

// MarshalJSON writes a string, or a list of strings.
func (k Key) MarshalJSON() ([]byte, error) {
	for i, part := range k {
		if !utf8.ValidString(part) {
			return nil, notUTF8(fmt.Sprintf("key[%d]", i))
		}
	}
	if len(k) == 1 {
		return json.Marshal(k[0])
	}
	return json.Marshal([]string(k))
}

// notUTF8 is said here and not by the sidecar, because JSON cannot carry such a
// string: written all the same, different ones would become one key.
func notUTF8(name string) error {
	return &ProblemError{Status: http.StatusBadRequest, Code: "key_invalid", Detail: name + " is not valid UTF-8"}
}
