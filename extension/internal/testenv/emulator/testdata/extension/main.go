// An extension that prints the events it gets.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension/"
	id := register(api, `{"events":["INVOKE","SHUTDOWN"]}`)
	if id == "" {
		// Managed Instances give no INVOKE.
		id = register(api, `{"events":["SHUTDOWN"]}`)
	}
	fmt.Println("extension registered as", os.Getuid())
	for {
		req, _ := http.NewRequest(http.MethodGet, api+"event/next", nil)
		req.Header.Set("Lambda-Extension-Identifier", id)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println("extension:", err)
			os.Exit(1)
		}
		var event struct{ EventType, ShutdownReason, RequestID string }
		err = json.NewDecoder(res.Body).Decode(&event)
		_ = res.Body.Close()
		if err != nil {
			fmt.Println("extension:", err)
			os.Exit(1)
		}
		fmt.Println("extension event", event.EventType, event.ShutdownReason)
		if event.EventType == "SHUTDOWN" {
			return
		}
	}
}

func register(api, events string) string {
	req, _ := http.NewRequest(http.MethodPost, api+"register", strings.NewReader(events))
	req.Header.Set("Lambda-Extension-Name", filepath.Base(os.Args[0]))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println("extension:", err)
		os.Exit(1)
	}
	defer res.Body.Close()
	return res.Header.Get("Lambda-Extension-Identifier")
}
