//go:build js && wasm

// Package browsertest is a small RTCPeerConnection for tests under Node, which has none: it keeps what it was told, makes offers
// with one m-line for each transceiver, and gives each receiving one a track when it is answered. Tests fire other events
// through its method fire(type, fields).
package browsertest

import (
	"syscall/js"
	"testing"
)

const source = `
globalThis.MediaStream ??= class { constructor(tracks) { this.tracks = tracks; } };
globalThis.RTCPeerConnection = class extends EventTarget {
  constructor(config) {
    super();
    Object.assign(this, {config, transceivers: [], connectionState: 'new', listeners: 0, calls: []});
    if (config.explode) throw new TypeError('bad configuration');
  }
  addEventListener(t, f) { this.listeners++; super.addEventListener(t, f); }
  removeEventListener(t, f) { this.listeners--; super.removeEventListener(t, f); }
  addTransceiver(what, init) {
    const kind = typeof what === 'string' ? what : what.kind;
    const t = {mid: null, direction: init.direction, init, kind,
      sender: {track: typeof what === 'string' ? null : what, replaceTrack: async (track) => { t.sender.track = track; }},
      receiver: {track: {kind, id: 'remote' + this.transceivers.length, stopped: false, stop() { this.stopped = true; }}},
      setCodecPreferences(list) { this.codecs = list; }};
    this.transceivers.push(t);
    return t;
  }
  async createOffer(options) {
    if (this.hang) return new Promise(() => {});
    this.calls.push(['createOffer', options]);
    const lines = this.transceivers.map((t, i) => 'm=' + t.kind + ' 9 x\r\na=mid:' + i + '\r\na=' + t.direction + '\r\n');
    return {type: 'offer', sdp: 'v=0' + (options.iceRestart ? ' restart' : '') + '\r\n' + lines.join('')};
  }
  async setLocalDescription(d) { this.calls.push(['local', d.type]); this.transceivers.forEach((t, i) => { t.mid = String(i); }); }
  async setRemoteDescription(d) {
    if (d.sdp === 'bad') throw new DOMException('cannot parse', 'OperationError');
    this.calls.push(['remote', d.type]);
    for (const t of this.transceivers) {
      if (t.direction !== 'recvonly' || t.told) continue;
      t.told = true;
      this.fire('track', {transceiver: t, track: t.receiver.track, streams: [{id: 'stream'}]});
    }
  }
  getConfiguration() { return {...this.config}; }
  setConfiguration(c) { this.config = c; }
  close() { this.calls.push(['close']); }
  fire(type, fields) { this.dispatchEvent(Object.assign(new Event(type), fields)); }
};
globalThis.RTCRtpSender = globalThis.RTCRtpReceiver = {getCapabilities: (kind) => ({codecs: [
  {mimeType: kind + '/VP8'}, {mimeType: kind + '/rtx'}, {mimeType: kind + '/H264', sdpFmtpLine: 'a'}, {mimeType: kind + '/H264', sdpFmtpLine: 'b'},
  {mimeType: kind + '/AV1'}, {mimeType: kind + '/red'}]})};
`

// Install makes the fake the global RTCPeerConnection until the test ends.
func Install(t *testing.T) {
	t.Helper()
	js.Global().Get("Function").New(source).Invoke()
	t.Cleanup(func() {
		for _, name := range []string{"RTCPeerConnection", "RTCRtpSender", "RTCRtpReceiver"} {
			js.Global().Delete(name)
		}
	})
}
