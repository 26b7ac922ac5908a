package canon

// maxValidDepth is how deep Valid lets lists and objects nest. It is the limit
// of encoding/json; the tree that Parse builds has the lower MaxDepth.
const maxValidDepth = 10_000

// Valid reports, as a *SyntaxError, why data is not exactly one JSON text in
// UTF-8, or nil.
//
// It is for values that are kept and handed back byte for byte, and lets pass
// what Parse must refuse to give a value one meaning: escapes of lone
// surrogates, exponents of any length, duplicate member names, and nesting
// beyond MaxDepth, up to 10,000.
func Valid(data []byte) error {
	i := skipSpace(data, 0)
	end, err := skipValue(data, i)
	if err != nil {
		return err
	}
	if err := atEnd(data, end); err != nil {
		return err
	}
	return nil
}

// atEnd checks that only white space follows from i on.
func atEnd(data []byte, i int) *SyntaxError {
	if i = skipSpace(data, i); i < len(data) {
		return syntaxError(i, "unexpected data after the JSON value")
	}
	return nil
}

// skipValue scans one value that starts at i, without recursion.
func skipValue(data []byte, i int) (int, *SyntaxError) {
	var open []byte // the closing brackets that are still due
	for {
		// Here a value starts at i.
		if i >= len(data) {
			return 0, unexpected(data, i, "a JSON value")
		}
		var err *SyntaxError
		switch c := data[i]; c {
		case '{', '[':
			if len(open) == maxValidDepth {
				return 0, syntaxError(i, "lists and objects nest deeper than %d", maxValidDepth)
			}
			i = skipSpace(data, i+1)
			closing := c + 2 // '[' and ']', '{' and '}' are two apart
			if i < len(data) && data[i] == closing {
				i++
				break
			}
			open = append(open, closing)
			if c == '{' {
				if i, err = skipName(data, i, "a member name or '}'"); err != nil {
					return 0, err
				}
			}
			continue
		default:
			if i, err = scanScalar(data, i); err != nil {
				return 0, err
			}
		}
		// Here a value ended at i: close brackets, or go on to the next one.
		for {
			if len(open) == 0 {
				return i, nil
			}
			closing := open[len(open)-1]
			i = skipSpace(data, i)
			if i < len(data) && data[i] == closing {
				open = open[:len(open)-1]
				i++
				continue
			}
			if i >= len(data) || data[i] != ',' {
				return 0, unexpected(data, i, "',' or '"+string(rune(closing))+"'")
			}
			i = skipSpace(data, i+1)
			if closing == '}' {
				if i, err = skipName(data, i, "a member name"); err != nil {
					return 0, err
				}
			}
			break
		}
	}
}

// skipName scans a member name and its colon, to where the value starts.
func skipName(data []byte, i int, want string) (int, *SyntaxError) {
	if i >= len(data) || data[i] != '"' {
		return 0, unexpected(data, i, want)
	}
	i, _, err := scanString(data, i)
	if err != nil {
		return 0, err
	}
	return skipColon(data, i)
}

func skipColon(data []byte, i int) (int, *SyntaxError) {
	i = skipSpace(data, i)
	if i >= len(data) || data[i] != ':' {
		return 0, unexpected(data, i, "':' after the member name")
	}
	return skipSpace(data, i+1), nil
}

// scanScalar scans a value that is neither a list nor an object.
func scanScalar(data []byte, i int) (int, *SyntaxError) {
	switch c := data[i]; {
	case c == '"':
		end, _, err := scanString(data, i)
		return end, err
	case c == '-' || isDigit(data, i):
		return scanNumber(data, i)
	case c == 't':
		return scanLiteral(data, i, "true")
	case c == 'f':
		return scanLiteral(data, i, "false")
	case c == 'n':
		return scanLiteral(data, i, "null")
	}
	return 0, unexpected(data, i, "a JSON value")
}
