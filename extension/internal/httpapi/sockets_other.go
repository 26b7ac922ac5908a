//go:build !linux && !darwin

package httpapi

import (
	"math"
	"net"
)

func descriptorLimit() int { return math.MaxInt32 }

func unread(*net.TCPConn) bool { return false }
