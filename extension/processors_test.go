package main

import "testing"

func TestProcessors(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want int
	}{
		"in Lambda":            {map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, 1},
		"outside":              {nil, 1},
		"in Managed Instances": {map[string]string{"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}, 0},
		"as the user says":     {map[string]string{"GOMAXPROCS": "4"}, 0},
	} {
		if got := processors(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
