// What the browser itself knows of a picture, out of its RTCStatsReport: no document and no library needed.

// receivedPicture reads what comes for a video track; before is what this gave last time, or null. It is null while nothing is known:
// {width, height, frameRate, bitrate, loss, rtt, codec, path, at, bytes, packets, lost}. bitrate (bit/s) and loss (0 to 1) are those
// since before, undefined without; rtt is ms.
export function receivedPicture(report, track, before) {
  const all = [...report.values()];
  const now = all.find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video' && entry.trackIdentifier === track.id);
  if (!now) return null;
  const packets = (now.packetsReceived ?? 0) + Math.max(0, now.packetsLost ?? 0);
  const facts = {
    width: now.frameWidth, height: now.frameHeight, frameRate: now.framesPerSecond, codec: codecOf(report, now), ...wayOf(report, all),
    at: now.timestamp, bytes: now.bytesReceived ?? 0, packets, lost: Math.max(0, now.packetsLost ?? 0),
  };
  const [seconds, sent] = [(facts.at - before?.at) / 1000, packets - before?.packets];
  if (seconds > 0) facts.bitrate = Math.max(0, (facts.bytes - before.bytes) * 8 / seconds);
  if (sent > 0) facts.loss = Math.min(1, Math.max(0, (facts.lost - before.lost) / sent));
  return facts;
}

// sentPictures reads what goes out of a video track: {layers, codec, path, rtt, at} with a layer for each encoding, the largest first,
// {rid, width, height, frameRate, bitrate, loss, limit, bytes}. limit is why the browser does not send more: none, cpu, bandwidth or other.
export function sentPictures(report, track, before) {
  const all = [...report.values()];
  const source = all.find((entry) => entry.type === 'media-source' && entry.trackIdentifier === track.id);
  const out = all.filter((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video' && source && entry.mediaSourceId === source.id);
  if (out.length === 0) return null;
  const layers = out.map((entry) => {
    const old = before?.layers.find(({rid}) => rid === entry.rid);
    const seconds = (entry.timestamp - before?.at) / 1000;
    return {
      rid: entry.rid, width: entry.frameWidth, height: entry.frameHeight, frameRate: entry.framesPerSecond ?? 0, bytes: entry.bytesSent ?? 0,
      bitrate: old && seconds > 0 ? Math.max(0, ((entry.bytesSent ?? 0) - old.bytes) * 8 / seconds) : undefined,
      loss: report.get(entry.remoteId)?.fractionLost, limit: entry.qualityLimitationReason ?? 'none',
    };
  }).sort((a, b) => (b.width ?? 0) - (a.width ?? 0));
  return {layers, codec: codecOf(report, out[0]), ...wayOf(report, all), at: out[0].timestamp};
}

function codecOf(report, entry) {
  return report.get(entry.codecId)?.mimeType?.split('/')[1];
}

// wayOf is the pair of candidates in use: its round trip, and how it goes.
function wayOf(report, all) {
  const transport = all.find(({type}) => type === 'transport');
  const chosen = report.get(transport?.selectedCandidatePairId) ?? all.find((entry) => entry.type === 'candidate-pair' && entry.selected);
  if (!chosen) return {};
  const [local, remote] = [report.get(chosen.localCandidateId), report.get(chosen.remoteCandidateId)];
  const relayed = local?.candidateType === 'relay' || remote?.candidateType === 'relay';
  const protocol = (local?.relayProtocol ?? local?.protocol ?? '').toUpperCase();
  return {
    rtt: chosen.currentRoundTripTime === undefined ? undefined : chosen.currentRoundTripTime * 1000,
    path: [relayed ? 'through a relay' : 'directly', protocol && `by ${protocol}`].filter(Boolean).join(' '),
  };
}
