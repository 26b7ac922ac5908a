package canon

import (
	"fmt"
	"math/bits"
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
	for i++; ; {
		next, ascii := plainEnd(data, i)
		if !ascii && !utf8.Valid(data[i:next]) {
			return 0, false, syntaxError(i+validPrefix(data[i:next]), "invalid UTF-8 in string")
		}
		if i = next; i == len(data) {
			return 0, false, syntaxError(start, "string is not closed")
		}
		switch c := data[i]; c {
		case '"':
			return i + 1, plain, nil
		case '\\':
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
		default:
			return 0, false, syntaxError(i, "control character 0x%02x in string must be escaped", c)
		}
	}
}

// validPrefix is how much of text is valid UTF-8.
func validPrefix(text []byte) int {
	i := 0
	for i < len(text) {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return i
}

// plainEnd returns the first place from i on, or the end of s, that holds what a
// JSON string ends with or must escape: a quote, a backslash or a control character.
// ascii tells that all before it is ASCII; it may be false without need.
func plainEnd[T string | []byte](s T, i int) (end int, ascii bool) {
	const (
		each  = 0x0101010101010101 // times a byte: that byte in each of eight
		highs = each * 0x80
	)
	var seen uint64
	for ; i+8 <= len(s); i += 8 {
		g := s[i : i+8]
		w := uint64(g[0]) | uint64(g[1])<<8 | uint64(g[2])<<16 | uint64(g[3])<<24 |
			uint64(g[4])<<32 | uint64(g[5])<<40 | uint64(g[6])<<48 | uint64(g[7])<<56
		seen |= w
		// A subtraction borrows first at the first byte that is to be found, and so
		// sets the high bit of that byte, which the byte itself has not.
		quote, slash := w^each*'"', w^each*'\\'
		found := ((w-each*0x20)&^w | (quote-each)&^quote | (slash-each)&^slash) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8, seen&highs == 0
		}
	}
	for ; i < len(s) && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\'; i++ {
		seen |= uint64(s[i])
	}
	return i, seen&highs == 0
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
