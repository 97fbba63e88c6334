// Package portal tests a whole edge over the wire, with the clients that are out there: the real socket.io-client of npm in the
// versions that OWT's SDKs use. It holds tests only.
package portal
