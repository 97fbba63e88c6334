// Package codecs tests what an edge does with the media of a real browser: every codec that it negotiates is decoded by a subscriber
// in headless Chromium, layers of simulcast are chosen by their track ids, or change smoothly with the size at which they are shown, and
// lost packets come again.
//
// The Go test runs the edge, with a room that takes every codec, and the *.test.mjs files, which drive the browser as those of
// tools/e2e/browser do. peer.js is the page: it speaks the Client-Portal protocol itself, so that a test says exactly what is offered.
package codecs
