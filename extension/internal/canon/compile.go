package canon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
)

// MaxExpression is how long, in bytes, a JMESPath expression may be.
const MaxExpression = 4096

// Expression is a compiled JMESPath expression. It can be used by several
// goroutines at once.
type Expression struct {
	text  string
	eval  step
	slots int
}

// String returns the expression's text.
func (e *Expression) String() string { return e.text }

// Compile compiles a JMESPath expression: JMESPath Community's grammar with
// arithmetic, let and string slices. An unknown function, a wrong number of
// arguments and an undefined variable are errors here already.
//
// The text is parsed by jmespath-community/go-jmespath. The evaluation is this
// package's own, since the library's works on float64, visits the members of an
// object in random order (so that keys(@) would be another key each time), and
// knows no bounds. See Select for what differs.
func Compile(expr string) (*Expression, error) {
	if strings.TrimLeft(expr, " \t\r\n") == "" {
		return nil, errors.New("JMESPath expression is empty")
	}
	if len(expr) > MaxExpression {
		return nil, fmt.Errorf("JMESPath expression has %d bytes, the limit is %d", len(expr), MaxExpression)
	}
	if !utf8.ValidString(expr) {
		return nil, errors.New("JMESPath expression is not valid UTF-8")
	}
	text, literals, err := extractLiterals(expr)
	if err != nil {
		return nil, fmt.Errorf("JMESPath expression %s: %w", show(expr), err)
	}
	ast, err := parseExpression(text)
	if err != nil {
		var syntax parsing.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("JMESPath expression %s, at byte %d: %s", show(expr),
				originalOffset(syntax.Offset, literals), strings.TrimPrefix(syntax.Error(), "SyntaxError: "))
		}
		return nil, fmt.Errorf("JMESPath expression %s: %w", show(expr), err)
	}
	c := compiler{literals: literals}
	eval, err := c.compile(ast)
	if err != nil {
		return nil, fmt.Errorf("JMESPath expression %s: %w", show(expr), err)
	}
	return &Expression{text: expr, eval: eval, slots: c.slots}, nil
}

// show quotes an expression for an error message, at most its start.
func show(expr string) string {
	const shown = 100
	if len(expr) > shown {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(expr[:shown], ""))
	}
	return fmt.Sprintf("%q", expr)
}

// parseExpression calls the library's parser, which panics on some malformed
// texts (an index past its last token, a character U+0080 after a name).
func parseExpression(text string) (ast parsing.ASTNode, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("malformed expression")
		}
	}()
	return parsing.NewParser().Parse(text)
}

// literal is a JSON literal of an expression, `…`.
type literal struct {
	value     Value
	end       int // the offset just after it in the expression
	placedEnd int // and in the text that the library parses
}

// extractLiterals replaces each JSON literal by its index, as in `0` and `1`:
// the library would read their numbers as float64. A number node of its tree is
// then the index of a literal, a string node is a raw string.
func extractLiterals(expr string) (string, []literal, error) {
	var b strings.Builder
	var literals []literal
	for i := 0; i < len(expr); {
		quote := expr[i]
		if quote != '\'' && quote != '"' && quote != '`' {
			b.WriteByte(quote)
			i++
			continue
		}
		end := i + 1
		for end < len(expr) && expr[end] != quote {
			if expr[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(expr) {
			return "", nil, fmt.Errorf("at byte %d: %c is not closed", i, quote)
		}
		end++
		if quote == '"' {
			// The library would read a lone surrogate as U+FFFD.
			if _, err := Unquote([]byte(expr[i:end])); err != nil {
				return "", nil, fmt.Errorf("name at byte %d: %w", i, err)
			}
		}
		if quote != '`' {
			b.WriteString(expr[i:end])
			i = end
			continue
		}
		v, err := Parse([]byte(strings.ReplaceAll(expr[i+1:end-1], "\\`", "`")))
		if err != nil {
			return "", nil, fmt.Errorf("literal at byte %d: %w", i, err)
		}
		fmt.Fprintf(&b, "`%d`", len(literals))
		literals = append(literals, literal{value: v, end: end, placedEnd: b.Len()})
		i = end
	}
	return b.String(), literals, nil
}

func originalOffset(offset int, literals []literal) int {
	shift := 0
	for _, l := range literals {
		if l.placedEnd > offset {
			break
		}
		shift = l.end - l.placedEnd
	}
	return offset + shift
}

// step evaluates one node of an expression on the current value.
type step func(*run, Value) (Value, error)

type compiler struct {
	literals []literal
	scope    []variable // innermost last
	slots    int
}

type variable struct {
	name string
	slot int
}

// compile turns a node of the library's tree into a step that is charged to the
// run's budget.
func (c *compiler) compile(node parsing.ASTNode) (step, error) {
	inner, err := c.node(node)
	if err != nil {
		return nil, err
	}
	return func(r *run, v Value) (Value, error) {
		if err := r.spend(1); err != nil {
			return Value{}, err
		}
		return inner(r, v)
	}, nil
}

func (c *compiler) compileAll(nodes []parsing.ASTNode) ([]step, error) {
	steps := make([]step, len(nodes))
	for i, node := range nodes {
		var err error
		if steps[i], err = c.compile(node); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func (c *compiler) node(node parsing.ASTNode) (step, error) {
	switch node.NodeType {
	case parsing.ASTLiteral:
		if s, ok := node.Value.(string); ok {
			return constant(ofString(s)), nil
		}
		index, ok := node.Value.(float64)
		if !ok || index < 0 || int(index) >= len(c.literals) {
			return nil, errors.New("malformed literal")
		}
		return constant(c.literals[int(index)].value), nil
	case parsing.ASTField:
		return field(node.Value.(string)), nil
	case parsing.ASTIndex:
		return index(node.Value.(int)), nil
	case parsing.ASTSlice:
		return slice(node.Value.([]*int))
	case parsing.ASTIdentity, parsing.ASTCurrentNode:
		return func(_ *run, v Value) (Value, error) { return v, nil }, nil
	case parsing.ASTRootNode:
		return func(r *run, _ Value) (Value, error) { return r.root, nil }, nil
	case parsing.ASTVariable:
		return c.variable(node.Value.(string))
	case parsing.ASTLetExpression:
		return c.let(node)
	case parsing.ASTFunctionExpression:
		return c.call(node)
	case parsing.ASTMultiSelectHash:
		return c.multiSelectHash(node)
	case parsing.ASTExpRef:
		return nil, errors.New("an expression reference (&) can only be the argument of a function")
	case parsing.ASTBindings, parsing.ASTBinding:
		return nil, errors.New("= stands outside of a let; use == to compare")
	}

	children, err := c.compileAll(node.Children)
	if err != nil {
		return nil, err
	}
	switch node.NodeType {
	case parsing.ASTSubexpression, parsing.ASTIndexExpression:
		return subexpression(children[0], children[1]), nil
	case parsing.ASTPipe:
		return pipe(children[0], children[1]), nil
	case parsing.ASTProjection:
		first := node.Children[0]
		ofSlice := first.NodeType == parsing.ASTIndexExpression && len(first.Children) > 1 &&
			first.Children[1].NodeType == parsing.ASTSlice
		return projection(children[0], children[1], ofSlice), nil
	case parsing.ASTValueProjection:
		return valueProjection(children[0], children[1]), nil
	case parsing.ASTFilterProjection:
		return filterProjection(children[0], children[1], children[2]), nil
	case parsing.ASTFlatten:
		return flatten(children[0]), nil
	case parsing.ASTMultiSelectList:
		return multiSelectList(children), nil
	case parsing.ASTOrExpression:
		return either(children[0], children[1], false), nil
	case parsing.ASTAndExpression:
		return either(children[0], children[1], true), nil
	case parsing.ASTNotExpression:
		return not(children[0]), nil
	case parsing.ASTComparator:
		return comparison(node.Value.(parsing.TokType), children[0], children[1])
	case parsing.ASTArithmeticExpression:
		return arithmetic(node.Value.(parsing.TokType), children[0], children[1])
	case parsing.ASTArithmeticUnaryExpression:
		return sign(node.Value.(parsing.TokType) == parsing.TOKMinus, children[0]), nil
	}
	return nil, fmt.Errorf("malformed expression (%s)", node.NodeType)
}

func (c *compiler) variable(name string) (step, error) {
	for i := len(c.scope) - 1; i >= 0; i-- {
		if c.scope[i].name == name {
			slot := c.scope[i].slot
			return func(r *run, _ Value) (Value, error) { return r.slots[slot], nil }, nil
		}
	}
	return nil, fmt.Errorf("variable %s is not defined", name)
}

// let gives every variable of the expression a slot of its own: expressions do
// not recurse, so no two values of one variable are ever needed at a time.
func (c *compiler) let(node parsing.ASTNode) (step, error) {
	var values []step
	var bound []variable
	for _, binding := range node.Children[0].Children {
		if binding.NodeType != parsing.ASTBinding || binding.Children[0].NodeType != parsing.ASTVariable {
			return nil, errors.New("let needs bindings such as $name = expression")
		}
		value, err := c.compile(binding.Children[1]) // in the outer scope
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		bound = append(bound, variable{name: binding.Children[0].Value.(string), slot: c.slots})
		c.slots++
	}
	outer := len(c.scope)
	c.scope = append(c.scope, bound...)
	body, err := c.compile(node.Children[1])
	c.scope = c.scope[:outer]
	if err != nil {
		return nil, err
	}
	return func(r *run, v Value) (Value, error) {
		for i, value := range values {
			bv, err := value(r, v)
			if err != nil {
				return Value{}, err
			}
			r.slots[bound[i].slot] = bv
		}
		return body(r, v)
	}, nil
}

func (c *compiler) multiSelectHash(node parsing.ASTNode) (step, error) {
	names := make([]string, len(node.Children))
	values := make([]step, len(node.Children))
	seen := make(map[string]struct{})
	for i, pair := range node.Children {
		name := pair.Value.(string)
		if _, ok := seen[name]; ok {
			return nil, fmt.Errorf("%q stands twice in one {…}", name)
		}
		seen[name] = struct{}{}
		value, err := c.compile(pair.Children[0])
		if err != nil {
			return nil, err
		}
		names[i], values[i] = name, value
	}
	sorted := slices.Sorted(slices.Values(names))
	places := make([]int, len(names))
	for i, name := range names {
		places[i], _ = slices.BinarySearch(sorted, name)
	}
	return func(r *run, v Value) (Value, error) {
		if err := r.spend(len(values)); err != nil {
			return Value{}, err
		}
		o := make(object, len(values))
		for i, value := range values {
			item, err := value(r, v)
			if err != nil {
				return Value{}, err
			}
			o[places[i]] = member{names[i], item}
		}
		return Value{o}, nil
	}, nil
}

func (c *compiler) call(node parsing.ASTNode) (step, error) {
	name := node.Value.(string)
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("unknown function %s()", name)
	}
	if len(node.Children) < f.least() || !f.variadic && len(node.Children) > len(f.params) {
		return nil, fmt.Errorf("function %s() takes %s, not %d", name, f.arity(), len(node.Children))
	}
	args := make([]step, len(node.Children))
	for i, child := range node.Children {
		wantRef := f.param(i) == anExpression
		isRef := child.NodeType == parsing.ASTExpRef
		switch {
		case wantRef && !isRef:
			return nil, fmt.Errorf("argument %d of %s() must be an expression reference such as &name", i+1, name)
		case isRef && !wantRef:
			return nil, fmt.Errorf("argument %d of %s() cannot be an expression reference", i+1, name)
		case isRef:
			child = child.Children[0]
		}
		var err error
		if args[i], err = c.compile(child); err != nil {
			return nil, err
		}
	}
	return func(r *run, v Value) (Value, error) {
		if err := r.spend(len(args)); err != nil {
			return Value{}, err
		}
		in := call{run: r, values: make([]Value, len(args))}
		for i, arg := range args {
			if f.param(i) == anExpression {
				in.ref = arg
				continue
			}
			value, err := arg(r, v)
			if err != nil {
				return Value{}, err
			}
			if !f.param(i).accepts(value) {
				return Value{}, fmt.Errorf("argument %d of %s() must be %s, not %s", i+1, name, f.param(i), typeName(value))
			}
			in.values[i] = value
		}
		result, err := f.body(in)
		if err != nil {
			return Value{}, fmt.Errorf("function %s(): %w", name, err)
		}
		return result, nil
	}, nil
}
