// Errors and events as the page sees them.

// ConferenceError is every error of this SDK. message is for people; code is for programs, see ConferenceErrorCode in portico.d.ts.
export class ConferenceError extends Error {
  constructor(message, code = 'internal') {
    super(message);
    this.name = 'ConferenceError';
    this.code = code;
  }
}

export class StreamEvent extends Event {
  constructor(type, init) {
    super(type);
    this.stream = init.stream;
  }
}

export class ParticipantEvent extends Event {
  constructor(type, init) {
    super(type);
    this.participant = init.participant;
  }
}

export class MessageEvent extends Event {
  constructor(type, init) {
    super(type);
    this.message = init.message;
    this.origin = init.origin;
    this.to = init.to;
  }
}

export class ErrorEvent extends Event {
  constructor(type, init) {
    super(type);
    this.error = init.error;
  }
}

export class MuteEvent extends Event {
  constructor(type, init) {
    super(type);
    this.kind = init.kind;
  }
}

export class DisconnectedEvent extends Event {
  constructor(type, init) {
    super(type);
    this.error = init.error;
  }
}

export class ReconnectedEvent extends Event {
  constructor(type, init) {
    super(type);
    this.participantId = init.participantId;
    this.same = init.same;
  }
}

export class RosterChangeEvent extends Event {
  constructor(type, init) {
    super(type);
    this.participantCount = init.participantCount;
    this.thin = init.thin;
  }
}

export class ActiveAudioInputChangeEvent extends Event {
  constructor(type, init) {
    super(type);
    this.activeAudioInputStreamId = init.activeAudioInputStreamId;
  }
}

export class LayoutChangeEvent extends Event {
  constructor(type, init) {
    super(type);
    this.layout = init.layout;
  }
}
