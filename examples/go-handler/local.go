package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// local handles one event outside Lambda, and returns the exit code.
func local(in io.Reader, out, log io.Writer) int {
	var event job
	err := json.NewDecoder(in).Decode(&event)
	if err == nil {
		var res response
		if res, err = handle(context.Background(), event); err == nil {
			err = json.NewEncoder(out).Encode(res)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(log, err)
		return 1
	}
	return 0
}
