package canon

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// SyntaxError says what is wrong with a JSON text, and where.
type SyntaxError struct {
	Offset int64  // the byte at which the fault was seen, from 0
	Msg    string // what is wrong there, such as `duplicate member name "id"`
}

// Error names the fault and the byte offset.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Msg)
}

func syntaxError(offset int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Offset: int64(offset), Msg: fmt.Sprintf(format, args...)}
}

// The scan functions below recognise the grammar of RFC 8259. Each takes the
// whole text and the offset at which its token starts, and returns the offset
// just after it. They return *SyntaxError and not error: callers test for nil.

func skipSpace(data []byte, i int) int {
	for i < len(data) {
		switch data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// unexpected describes what stands at i where want was expected.
func unexpected(data []byte, i int, want string) *SyntaxError {
	if i >= len(data) {
		return syntaxError(i, "unexpected end of input, expected %s", want)
	}
	r, size := utf8.DecodeRune(data[i:])
	switch {
	case r == utf8.RuneError && size == 1:
		return syntaxError(i, "invalid UTF-8, expected %s", want)
	case r == '\ufeff':
		return syntaxError(i, "unexpected byte order mark, expected %s", want)
	}
	return syntaxError(i, "unexpected %s, expected %s", strconv.QuoteRuneToASCII(r), want)
}

func scanLiteral(data []byte, i int, word string) (int, *SyntaxError) {
	for k := range len(word) {
		if i+k >= len(data) || data[i+k] != word[k] {
			return 0, unexpected(data, i+k, "the literal "+word)
		}
	}
	return i + len(word), nil
}

// scanString scans the string whose opening quote is at i. plain reports that
// it holds no escapes, so that its content is the bytes between the quotes.
func scanString(data []byte, i int) (end int, plain bool, err *SyntaxError) {
	start := i
	plain = true
	for i++; i < len(data); {
		c := data[i]
		switch {
		case c == '"':
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			if i+1 >= len(data) {
				return 0, false, syntaxError(start, "string is not closed")
			}
			switch data[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				for k := i + 2; k < i+6; k++ {
					if k >= len(data) {
						return 0, false, syntaxError(start, "string is not closed")
					}
					if hexDigit(data[k]) < 0 {
						return 0, false, syntaxError(i, `a \u escape needs four hex digits`)
					}
				}
				i += 6
			default:
				return 0, false, syntaxError(i, "unknown escape in string")
			}
		case c < 0x20:
			return 0, false, syntaxError(i, "control character 0x%02x in string must be escaped", c)
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return 0, false, syntaxError(i, "invalid UTF-8 in string")
			}
			i += size
		}
	}
	return 0, false, syntaxError(start, "string is not closed")
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isDigit(data []byte, i int) bool {
	return i < len(data) && '0' <= data[i] && data[i] <= '9'
}

func scanNumber(data []byte, i int) (int, *SyntaxError) {
	if data[i] == '-' {
		i++
	}
	switch {
	case !isDigit(data, i):
		return 0, unexpected(data, i, "a digit")
	case data[i] == '0':
		i++
		if isDigit(data, i) {
			return 0, syntaxError(i-1, "number has a leading zero")
		}
	default:
		for isDigit(data, i) {
			i++
		}
	}
	if i < len(data) && data[i] == '.' {
		if i++; !isDigit(data, i) {
			return 0, unexpected(data, i, "a digit after the decimal point")
		}
		for isDigit(data, i) {
			i++
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !isDigit(data, i) {
			return 0, unexpected(data, i, "a digit in the exponent")
		}
		for isDigit(data, i) {
			i++
		}
	}
	return i, nil
}
