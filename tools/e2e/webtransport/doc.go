// Package webtransport tests the data streams of an edge with the WebTransport of a real browser: what one page writes comes out in
// another, over the UDP port that media uses too, with a certificate that the browser takes by its hash.
//
// The Go test runs the edge; data.test.mjs, for Node's own test runner with playwright-core, drives headless Chromium. Some of its pages
// use the SDK, in the demo's page; in others page.js speaks the Client-Portal protocol and the streams of its section 8.12 itself, byte by
// byte.
package webtransport
