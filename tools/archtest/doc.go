// Package archtest holds the rules of the house as tests: which package may import which, which stay free of I/O, what may reach the
// browser, what a package says of itself, and what lies in the tree.
//
// It has no code of its own. Each rule stands with its reason, in rules_test.go where it is a list, and a failure says what to
// do. A rule that has become wrong is changed there, in the same change that needs it. The checkers are tested on made-up
// packages, so that a rule that catches nothing is noticed.
package archtest
