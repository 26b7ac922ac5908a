// Package soak puts a million requests on the program as it ships, good and bad
// ones, and watches what the process holds meanwhile: goroutines, descriptors and
// memory must be no more at the end than they were at the beginning. Its tests do
// that in a short form, and call the program as hostile callers would.
package soak
