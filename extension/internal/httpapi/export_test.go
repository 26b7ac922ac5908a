package httpapi

import (
	"net"
	"net/http"
	"time"
)

const (
	MaxBody       = maxBody
	BigBody       = bigBody
	BatchWidth    = batchWidth
	MaxHeavy      = maxHeavy
	MaxResults    = maxResults
	MaxIdleConns  = maxIdleConns
	MaxConns      = maxDescriptors / 4 * 3
	IdleTicks     = idleTicks
	HeaderTimeout = headerTimeout
	BodyTimeout   = bodyTimeout
	ProblemPage   = problemPage
)

type CodeEntry = codeEntry

func Codes() []CodeEntry { return codes() }

func (s *Server) HTTP() *http.Server { return s.http }

func (s *Server) SetTick(d time.Duration) { s.conns.tick = d }

func (s *Server) SetMost(n int) { s.conns.bound(n) }

func Unread(c *net.TCPConn) bool { return unread(c) }

func (s *Server) SetAnswerTimeout(d time.Duration) { s.conns.answer = d }
