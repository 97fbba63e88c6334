// Package cluster tests a cluster as its operator and its users have it: three edges in two regions and a relay, each a process in a
// network of its own, with delay and loss between the regions, and participants on each. Nodes are killed, suspended, cut off from each
// other, drained and started again under the calls, and what counts is what the participants hear and are told meanwhile.
//
// It needs root on Linux, for the networks (package netlab).
package cluster
