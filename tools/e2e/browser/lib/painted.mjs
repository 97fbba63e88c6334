// Cameras and microphones that can be told apart: a colour and a tone for each page.

// paint gives a page's camera one colour, with a spot that wanders, and its microphone a tone. Call it before the page is loaded, with a
// CSS colour and a frequency in Hz. globalThis.speak(on) turns the tone on and off; at first it is on.
export function paint(colour, frequency) {
  return (context) => context.addInitScript(([fill, hertz]) => {
    let gain;
    const sound = () => {
      const audio = new AudioContext();
      const tone = new OscillatorNode(audio, {frequency: hertz});
      const out = audio.createMediaStreamDestination();
      gain = new GainNode(audio, {gain: 0.3});
      tone.connect(gain).connect(out);
      tone.start();
      audio.resume();
      return out.stream.getAudioTracks()[0];
    };
    const picture = () => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [640, 360];
      const context = canvas.getContext('2d');
      let at = 0;
      const draw = () => {
        context.fillStyle = fill;
        context.fillRect(0, 0, canvas.width, canvas.height);
        context.fillStyle = 'white';
        context.fillRect(at = (at + 4) % (canvas.width - 20), 10, 20, 20);
      };
      draw();
      setInterval(draw, 66);
      return canvas.captureStream(15).getVideoTracks()[0];
    };
    globalThis.speak = (on) => {
      if (gain) gain.gain.value = on ? 0.3 : 0;
    };
    navigator.mediaDevices.getUserMedia = async ({audio, video}) => new MediaStream([...(audio ? [sound()] : []), ...(video ? [picture()] : [])]);
  }, [colour, frequency]);
}

// coloursOf looks at the mixed picture of a page, in the middle of the place of each stream, and gives [red, green, blue] by stream.
export function coloursOf(page) {
  return page.$eval('.mix video', (video) => {
    const canvas = new OffscreenCanvas(video.videoWidth || 1, video.videoHeight || 1);
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(video, 0, 0);
    const seen = {};
    for (const place of document.querySelectorAll('.mix .place')) {
      const part = (side) => Number.parseFloat(place.style[side]) / 100;
      const x = (part('left') + part('width') / 2) * canvas.width;
      const y = (part('top') + part('height') / 2) * canvas.height;
      seen[place.dataset.stream] = [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
    }
    return seen;
  });
}

// tonesOf listens to the mixed sound of a page for a while and gives how loud each frequency is, in dB.
export function tonesOf(page, frequencies) {
  return page.$eval('.mix video', async (video, list) => {
    const audio = new AudioContext();
    await audio.resume();
    const analyser = new AnalyserNode(audio, {fftSize: 8192, smoothingTimeConstant: 0.3});
    audio.createMediaStreamSource(new MediaStream(video.srcObject.getAudioTracks())).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const loudest = list.map(() => -200);
    for (let look = 0; look < 15; look++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      analyser.getFloatFrequencyData(bins);
      for (const [index, hertz] of list.entries()) {
        const bin = Math.round(hertz / audio.sampleRate * analyser.fftSize);
        loudest[index] = Math.max(loudest[index], ...bins.slice(bin - 1, bin + 2));
      }
    }
    await audio.close();
    return loudest;
  }, frequencies);
}
