// The room's mixed stream: everybody in one picture and one sound, made by the server.

export class Mixing {
  #client;
  #onChange;
  #onEnd;
  #stream = null;
  #subscription = null;
  #opening = null; // promise of a subscription that is on its way
  #own = null; // this page's camera publication
  #watching = false;

  // onChange is called with {id, regions, active, media, own} whenever something of it changed: who is where in the picture, the stream
  // that was the loudest last, what is received of it, and this page's stream; or with null when the server does not mix. onEnd is called
  // when what is being watched has ended by itself.
  constructor(client, onChange, onEnd) {
    this.#client = client;
    this.#onChange = onChange;
    this.#onEnd = onEnd;
  }

  // found takes a mixed stream that the room has; the first with a picture counts.
  found(stream) {
    if (this.#stream || !stream.settings.video) return;
    this.#stream = stream;
    for (const type of ['layoutchange', 'activeaudioinputchange', 'updated']) stream.addEventListener(type, () => this.#tell());
    this.#tell();
  }

  // enter takes a publication into the mix, where it stays when it is restored. A server that does not mix says so here.
  async enter(publication) {
    this.#own = publication;
    publication.addEventListener('restored', () => this.#tell());
    publication.addEventListener('ended', () => {
      if (this.#own === publication) this.#own = null;
    });
    await this.#enter(publication);
  }

  async #enter(publication) {
    if (!this.#stream) return;
    try {
      await this.#client.mix(publication, this.#stream.label);
      this.#tell();
    } catch ({code}) {
      if (code !== 'refused' || this.#own !== publication) return;
      this.#stream = null;
      this.#onChange(null);
      if (!this.#watching) return;
      this.unwatch();
      this.#onEnd();
    }
  }

  // watch receives the mix.
  watch() {
    this.#watching = true;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #open() {
    const stream = this.#stream;
    if (!stream || this.#subscription) return;
    const subscription = await this.#client.subscribe(stream, {audio: Boolean(stream.settings.audio), video: true});
    if (!this.#watching) {
      subscription.stop().catch(() => {}); // gone either way
      return;
    }
    this.#subscription = subscription;
    subscription.addEventListener('restored', () => this.#tell());
    subscription.addEventListener('ended', () => {
      if (this.#subscription !== subscription) return;
      this.#subscription = null;
      this.#tell();
      this.#onEnd();
    });
    this.#tell();
  }

  unwatch() {
    this.#watching = false;
    const subscription = this.#subscription;
    if (!subscription) return;
    this.#subscription = null;
    subscription.stop().catch(() => {}); // gone either way
    this.#tell();
  }

  // moveTo changes this page's picture with the one in that region.
  async moveTo(region) {
    if (this.#own && this.#stream) await this.#client.setRegion(this.#own, region, this.#stream.label);
  }

  // inspect is Call.inspect for the mix.
  async inspect() {
    const subscription = this.#subscription;
    if (!subscription) return null;
    const [report, told] = await Promise.all([subscription.getStats(), subscription.quality().catch(() => null)]);
    return {report, told, track: subscription.stream.getVideoTracks()[0]};
  }

  #tell() {
    const stream = this.#stream;
    if (!stream) return;
    this.#onChange({
      id: stream.id, regions: regionsOf(stream.layout), active: stream.activeInput, media: this.#subscription?.stream ?? null, own: this.#own?.id ?? null,
    });
  }
}

// regionsOf reads a layout (rooms-and-media 5.3): {id, stream, left, top, width, height}, in parts of the picture.
export function regionsOf(layout) {
  return (layout ?? []).map(({stream, region: {id, area}}) => ({
    id, stream: stream ?? null, left: part(area.left), top: part(area.top), width: part(area.width), height: part(area.height),
  }));
}

// part is a fraction written as "n/d".
function part(text) {
  const [n, d] = String(text).split('/').map(Number);
  return d ? n / d : n || 0;
}
