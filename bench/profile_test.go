package main

import (
	"math"
	"testing"
)

func TestProfile(t *testing.T) {
	p := profile{shares: map[string]float64{}}
	err := p.read(`File: profiled
Type: cpu
-----------+-------------------------------------------------------
      20ms   internal/runtime/syscall/linux.Syscall6
             net.(*conn).Write
             net/http.persistConnWriter.Write
             net/http.(*persistConn).writeLoop
             runtime.goexit
-----------+-------------------------------------------------------
      30ms   runtime.mallocgc
             github.com/aws/aws-sdk-go-v2/aws/signer/v4.(*httpSigner).Build
             github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi.(*api).acquire
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      50ms   runtime.usleep
-----------+-------------------------------------------------------
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"HTTP to DynamoDB": 0.2, "the AWS SDK: serialising, signing, credentials": 0.3, "all else": 0.5} {
		if got := p.shares[name]; math.Abs(got-want) > 1e-9 {
			t.Errorf("the share of %s is %v, not %v", name, got, want)
		}
	}
	if (&profile{}).read("nothing") == nil {
		t.Error("a profile without samples was taken")
	}
}
