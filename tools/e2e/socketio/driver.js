// Drives one socket.io-client for a test. Commands come as JSON lines on stdin, what happens goes as JSON lines to stdout.
//
//   {"op":"connect","version":2|3|4,"url":…,"options":{…}}     options of io() in that version
//   {"op":"emit","name":…,"args":[…]}
//   {"op":"request","id":n,"name":…,"args":[…]}                emit with an acknowledgement, told as "answer"
//   {"op":"close"}
//
//   {"type":"open","transport":…}         {"type":"connect","id":…}          {"type":"upgrade","transport":…}
//   {"type":"event","name":…,"args":[…]}  {"type":"answer","id":n,"args":[…]}
//   {"type":"disconnect","reason":…}      {"type":"error","message":…}
//
// It ends with stdin.
"use strict"

const tell = message => process.stdout.write(JSON.stringify(message) + "\n")

let socket

function connect({version, url, options}) {
	const io = require("socket.io-client-" + version)
	socket = io(url, {...options, autoConnect: false, forceNew: true})
	const onevent = socket.onevent
	socket.onevent = function (packet) { // version 2 has no onAny
		const [name, ...args] = packet.data
		tell({type: "event", name, args})
		onevent.call(this, packet)
	}
	socket.io.on("open", () => tell({type: "open", transport: socket.io.engine.transport.name}))
	socket.on("connect", () => tell({type: "connect", id: socket.id}))
	socket.on("disconnect", reason => tell({type: "disconnect", reason}))
	for (const name of ["connect_error", "connect_timeout", "error"]) {
		socket.on(name, e => tell({type: "error", message: name + ": " + (e && e.message || e)}))
	}
	socket.connect()
	socket.io.engine.on("upgrade", transport => tell({type: "upgrade", transport: transport.name}))
}

const ops = {
	connect,
	emit: ({name, args}) => socket.emit(name, ...args),
	request: ({id, name, args}) => socket.emit(name, ...args, (...answer) => tell({type: "answer", id, args: answer})),
	close: () => socket.disconnect(),
}

require("readline").createInterface({input: process.stdin})
	.on("line", line => {
		const command = JSON.parse(line)
		ops[command.op](command)
	})
	.on("close", () => {
		if (socket) socket.disconnect() // so that the server knows; node ends when that is through
		setTimeout(() => process.exit(0), 2000).unref()
	})
