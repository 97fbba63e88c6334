// Package cluster is who is there: the nodes of a cluster, as gossip (SWIM, by memberlist) tells them to each other.
//
// Each node describes itself in Meta, at most 512 bytes that travel with gossip: name, boot, region, roles, addresses, the fingerprint
// of its certificate, capacity, state and a coarse load. Rooms, streams and fine figures never do. Config.Notify is told what joins,
// changes and leaves, in order; Nodes is the same as a list.
//
// Gossip authorises nothing. Whoever has the gossip key can say anything about anybody: that a node is here, gone, full or elsewhere.
// So nothing said here is a right. Rights come with the link between two nodes, where both show certificates of the cluster's own
// authority; what is learned here only says whom to ask. The fingerprint in Meta helps to find faults and proves nothing either.
//
// The key is one of a ring (AddKey, UseKey, RemoveKey), so that it can be replaced without a stop: add the new one everywhere, use it
// everywhere, remove the old one everywhere. The label keeps clusters apart that were given the same key.
//
// A node that died or was cut off is looked for again at its last address, and so are the seeds: parts of a cluster that could not
// reach each other grow together on their own.
//
// memberlist calls out under its own lock, so its hooks here only take notes, which one goroutine reads. Notes about one node replace
// each other: a slow reader sees the latest state of each node and costs no memory.
package cluster
