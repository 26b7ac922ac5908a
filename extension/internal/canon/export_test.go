package canon

// MaxWork is maxWork.
const MaxWork = maxWork

// SelectWithin is Select with another bound of the work.
func (e *Expression) SelectWithin(work int, v Value) (Value, error) { return e.within(work, v) }
