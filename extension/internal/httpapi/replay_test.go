package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// A result is replayed byte for byte. encoding/json would change most of these.
func TestReplayIsByteForByte(t *testing.T) {
	s := serve(t)
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for i, result := range []string{
		"null", "0", "false", `""`, "{}", "[]", "true", "-0", "1.0", "1E+2", "0.1e-7",
		"9007199254740993", "12345678901234567891", "1e400", "-1e-400", strings.Repeat("9", 1000),
		`"é"`, `"\u00e9"`, `"\u0000"`, `"\/"`, `"<>&"`, `"\u2028` + "\u2028" + `"`, `"😀"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\u007f\"",
		`{ "b" : 1,  "a":[ 1 ]}`, "{\n\t\"a\":\r\n1}", `{"a":1,"a":2}`, deep,
		`"` + strings.Repeat("x", 6<<20) + `"`,
	} {
		token := s.acquire(fmt.Sprintf(`{"key":"%d"}`, i))
		s.post("/complete", `{"result" : `+result+` ,"token":`+quote(token)+`}`).want("completed")
		got := s.post("/acquire", fmt.Sprintf(`{"key":"%d"}`, i)).want("completed")
		want := `{"status":"completed","result":` + result + `,"completed_at":`
		if !strings.HasPrefix(string(got.body), want) {
			t.Errorf("%.100s was replayed as %.200s", result, got.body)
		}
	}
}

func TestReplayWithoutAResult(t *testing.T) {
	s := serve(t)
	s.post("/complete", `{"token":`+quote(s.acquire(`{"key":"a"}`))+`}`).want("completed")
	got := s.post("/acquire", `{"key":"a"}`).want("completed")
	if !strings.HasPrefix(string(got.body), `{"status":"completed","result":null,"completed_at":`) {
		t.Errorf("replayed as %s", got.body)
	}
}

// A result that fills the body to the last byte is stored; with one more it is
// refused, and the claim can still be completed without it.
func TestLargestBody(t *testing.T) {
	s := serve(t)
	token := s.acquire(`{"key":"a"}`)
	frame := `{"token":` + quote(token) + `,"result":""}`
	fill := httpapi.MaxBody - len(frame)
	body := func(n int) string { return strings.Replace(frame, `:""`, `:"`+strings.Repeat("x", n)+`"`, 1) }
	s.post("/complete", body(fill+1)).problem(413, httpapi.TooLarge, "over 6356992 bytes", "complete without a result")
	s.post("/complete", body(fill)).want("completed")
	if got := s.post("/acquire", `{"key":"a"}`).want("completed"); len(got.members["result"]) != fill+2 {
		t.Errorf("replayed %d bytes, want %d", len(got.members["result"]), fill+2)
	}
}
