// Package browser tests the whole system as its users meet it: the real program (portico dev: an edge and a relay), the demo page
// and the client library in headless Chromium, with the browser's fake camera and microphone.
//
// The tests themselves are the *.test.mjs files here, for Node's own test runner with playwright-core; the Go test builds what they
// need into the build folder, runs each file and reports its tests. fake/portico.js stands in for the client library where the page
// alone is tested. Pictures of the page are kept in build/e2e.
package browser
