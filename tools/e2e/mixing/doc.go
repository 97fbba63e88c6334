// Package mixing tests how mixed streams get on when something goes wrong: portico-edge and portico-relay as programs of their own,
// participants with real video and sound (tools/pionpeer), and a relay that is killed, a network that loses packets, participants who
// come and go, one who sends what is no video at all, one whose media crash a decoder, and those whose pictures become others.
//
// Participants publish clips of one colour and one tone, which ffmpeg makes; what they receive of a mix is judged packet by packet, and
// its pictures and sounds are decoded with ffmpeg. The tests need Linux and a C compiler; the one with a bad network needs root too.
//
// Some take a while and run shorter unless they are told otherwise:
//
//	PORTICO_TEST_LONG=1     30 s of loss, and 1,000 joins and leaves
//	PORTICO_TEST_RACE=1     100 joins and leaves of programs that were built with the race detector
package mixing
