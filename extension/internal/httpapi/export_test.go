package httpapi

import "time"

const (
	MaxBody       = maxBody
	MaxIdleConns  = maxIdleConns
	HeaderTimeout = time.Duration(headerTimeout)
	ProblemPage   = problemPage
)

type CodeEntry = codeEntry

func Codes() []CodeEntry { return codes() }
