package httpapi

const (
	MaxBody       = maxBody
	MaxIdleConns  = maxIdleConns
	HeaderTimeout = headerTimeout
	ProblemPage   = problemPage
)

type CodeEntry = codeEntry

func Codes() []CodeEntry { return codes() }
