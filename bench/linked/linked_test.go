package linked

import "testing"

func TestModule(t *testing.T) {
	m := Modules{paths: []string{"github.com/lambda-idempotency/lambda-idempotency", "github.com/aws/aws-sdk-go-v2/service/dynamodb", "github.com/go-chi/chi/v5", "go.etcd.io/bbolt", "github.com/go-chi/chi"}}
	const sdk = "github.com/aws (aws-sdk-go-v2, smithy-go)"
	for symbol, want := range map[string]string{
		"github.com/aws/aws-sdk-go-v2/service/dynamodb.(*Client).PutItem":       sdk,
		"github.com/aws/aws-sdk-go-v2/service/dynamodb/internal/endpoints.init": sdk,
		"type:.eq.github.com/go-chi/chi/v5.Context":                             "github.com/go-chi/chi/v5",
		"github.com/go-chi/chi.x":                                               "github.com/go-chi/chi",
		"github.com/go-chi/chiropractic.x":                                      Standard,
		"go:itab.*github.com/go-chi/chi/v5.Mux,net/http.Handler":                "github.com/go-chi/chi/v5",
		"go%2eetcd.io/bbolt.Open":                                               "go.etcd.io/bbolt",
		"slices.SortFunc[go.shape.[]github.com/go-chi/chi/v5.Route]":            Standard,
		"main.run":      "github.com/lambda-idempotency/lambda-idempotency",
		"net/http.init": Standard,
		"go:func.*":     Unnamed,
	} {
		if got := m.module(symbol); got != want {
			t.Errorf("%s is told as %s, not as %s", symbol, got, want)
		}
	}
}
