package canon

import "strings"

// Unquote decodes raw, which must be exactly one JSON string with its quotes
// and nothing around it. An escape of a lone surrogate, which no UTF-8 string
// can hold, is an error, as is all that Valid refuses. Every error is a
// *SyntaxError.
func Unquote(raw []byte) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", unexpected(raw, 0, "a JSON string")
	}
	end, plain, err := scanString(raw, 0)
	if err != nil {
		return "", err
	}
	if end != len(raw) {
		return "", syntaxError(end, "unexpected data after the JSON string")
	}
	if plain {
		return string(raw[1 : end-1]), nil
	}
	s, err := unquote(raw, 0, false)
	if err != nil {
		return "", err
	}
	return s, nil
}

// unquote decodes a string that scanString has accepted. base is the offset of
// raw in the whole text, for errors. With loose, a lone surrogate is kept as the
// three bytes that UTF-8 would have for it, so that no two strings become one.
func unquote(raw []byte, base int, loose bool) (string, *SyntaxError) {
	var out strings.Builder
	out.Grow(len(raw) - 2)
	for i := 1; i < len(raw)-1; {
		if raw[i] != '\\' {
			end, _ := plainEnd(raw[:len(raw)-1], i)
			out.Write(raw[i:end])
			i = end
			continue
		}
		switch c := raw[i+1]; c {
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r, size := hexEscape(raw[i:])
			if r < 0 && loose {
				u := hexUnit(raw[i:])
				out.Write([]byte{byte(0xe0 | u>>12), byte(0x80 | u>>6&0x3f), byte(0x80 | u&0x3f)})
				i += 6
				continue
			}
			if r < 0 {
				return "", syntaxError(base+i, "escape of a lone surrogate, which is no character")
			}
			out.WriteRune(r)
			i += size
			continue
		default: // '"', '\\', '/'
			out.WriteByte(c)
		}
		i += 2
	}
	return out.String(), nil
}

// hexEscape decodes the \u escape, or pair of them, at the start of raw. It
// returns -1 for a lone surrogate.
func hexEscape(raw []byte) (r rune, size int) {
	r = hexUnit(raw)
	switch {
	case r < 0xd800 || r > 0xdfff:
		return r, 6
	case r < 0xdc00 && len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u':
		if low := hexUnit(raw[6:]); 0xdc00 <= low && low <= 0xdfff {
			return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), 12
		}
	}
	return -1, 0
}

func hexUnit(raw []byte) rune {
	var r rune
	for _, c := range raw[2:6] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// AppendQuote appends s as a canonical JSON string: only '"', '\' and the
// characters below U+0020 are escaped, in the short form where JSON has one,
// else as \u00xx. s must be valid UTF-8, as all strings from this package are.
func AppendQuote(dst []byte, s string) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

// appendEscaped appends s as it stands between the quotes, all of it or a part.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for {
		i, _ := plainEnd(s, start)
		dst = append(dst, s[start:i]...)
		if i == len(s) {
			return dst
		}
		start = i + 1
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
}
