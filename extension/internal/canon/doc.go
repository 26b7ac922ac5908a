// Package canon makes idempotency keys of JSON: it reads JSON exactly, selects
// from it with JMESPath, writes the one canonical text of a value, and hashes it.
//
// Two values have the same canonical text exactly if they are the same JSON
// value: object members in any order, white space and string escapes do not
// matter, and numbers are compared as the decimal numbers they spell, with all
// their digits. Nothing passes through float64, which would merge
// 12345678901234567890 with 12345678901234567891.
//
// # Canonical text
//
//   - null, true and false as they are; no white space anywhere.
//   - Object members are sorted by the Unicode code points of their names, which
//     is the order of the names' UTF-8 bytes (not of their UTF-16 units).
//   - Strings are raw UTF-8. Only '"', '\' and the characters below U+0020 are
//     escaped: \" \\ \b \t \n \f \r, the others as \u00xx in lower case.
//   - Numbers: take the number as ±D × 10^E, where D is an integer without
//     leading and trailing zeros, and let n be the count of D's digits. Zero is
//     "0", without a sign. With at most 20 zeros filled in, the number is
//     written plainly: D and E zeros if 0 <= E <= 20; the point inside D if
//     -n < E < 0; "0.", -E-n zeros and D if -n-20 <= E <= -n. Otherwise it is
//     D, "e" and E. So 1.50 is 1.5, 10e19 is 100000000000000000000, 1e21 is
//     1e21, 12.5e-40 is 125e-41.
//
// The hash of a value is the SHA-256 of its canonical text in lower case hex.
//
// # Limits
//
// All input is taken to be hostile. A text may nest to MaxDepth and hold
// MaxValues values; an expression may have MaxExpression bytes, and be evaluated
// with a bounded amount of work (see Expression.Select).
//
// vectors.json in this package holds cases for other implementations; its
// "about" member explains them.
package canon
