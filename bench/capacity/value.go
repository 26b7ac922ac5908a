package capacity

// value is one of DynamoDB's JSON.
type value struct {
	S *string
	N *string
	B []byte
	L *[]value
	M *map[string]value
}

// size is what DynamoDB counts for it:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (v value) size() int {
	switch {
	case v.S != nil:
		return len(*v.S)
	case v.N != nil:
		return len(*v.N)/2 + 2
	case v.B != nil:
		return len(v.B)
	case v.L != nil:
		n := 3
		for _, e := range *v.L {
			n += 1 + e.size()
		}
		return n
	case v.M != nil:
		n := 3
		for name, e := range *v.M {
			n += 1 + len(name) + e.size()
		}
		return n
	}
	return 1
}
