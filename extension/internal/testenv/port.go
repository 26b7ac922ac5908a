package testenv

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// given are the ports that this process has been told of.
var given sync.Map

// FreePort is a port of loopback that nobody listens on. It is told of once, and
// lies below those that the system takes for connections, so that little can take
// it before its user does.
func FreePort() (int, error) {
	const first, count, tries = 20_000, 12_000, 200
	for range tries {
		port := first + rand.IntN(count)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port was found on loopback")
}
