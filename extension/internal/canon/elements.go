package canon

// Elements splits data, which must be exactly one JSON array, into the texts of
// its elements in their order, without surrounding white space. They share
// memory with data, and are checked as Valid checks them. There may be at most
// MaxValues. Every error is a
// *SyntaxError.
func Elements(data []byte) ([][]byte, error) {
	elements, err := splitArray(data)
	if err != nil {
		return nil, err
	}
	return elements, nil
}

func splitArray(data []byte) ([][]byte, *SyntaxError) {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return nil, unexpected(data, i, "a JSON array")
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == ']' {
		return nil, atEnd(data, i+1)
	}
	var elements [][]byte
	for {
		end, err := skipValue(data, i)
		if err != nil {
			return nil, err
		}
		if len(elements) == MaxValues {
			return nil, tooManyValues(i)
		}
		elements = append(elements, data[i:end:end])
		i = skipSpace(data, end)
		if i < len(data) && data[i] == ']' {
			return elements, atEnd(data, i+1)
		}
		if i >= len(data) || data[i] != ',' {
			return nil, unexpected(data, i, "',' or ']'")
		}
		i = skipSpace(data, i+1)
	}
}
