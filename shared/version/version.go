// Package version says which build of Portico this is.
package version

import "runtime/debug"

// number is set by the build.
var number = "devel"

// Number is the release, or a description of the commit it was built from.
func Number() string {
	if number != "devel" {
		return number
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return number
}
