package chaos

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// plan makes all random choices from the seed. Each source of choices has a
// stream of its own, named by what it decides, so that the order in which
// goroutines come by does not mix them: a run with the same seed plans the same.
type plan struct{ seed uint64 }

// stream returns the choices for the name.
func (p plan) stream(name string) *dice {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, p.seed)
	_, _ = h.Write([]byte(name))
	return &dice{rand.New(rand.NewPCG(p.seed, h.Sum64()))}
}

// dice is one stream of choices.
type dice struct{ *rand.Rand }

// percent is true in so many of 100 cases.
func (d *dice) percent(n float64) bool { return d.Float64()*100 < n }

// between is a time between two bounds.
func (d *dice) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.Int64N(int64(most-least)+1))
}

// millis is a number of milliseconds between two bounds.
func (d *dice) millis(least, most int64) int64 { return least + d.Int64N(most-least+1) }
