package yuv

// scaleInGo does without C what scale does with it: in each direction an average of the pixels under the new one where the picture
// becomes smaller, and a straight line between the two nearest where it becomes larger.
func scaleInGo(to, from [3]plane) {
	for i := range to {
		scalePlane(to[i], from[i])
	}
}

// weightBits is the precision of weights, which add up to 1 << weightBits for each new pixel.
const weightBits = 12

// tap is what makes one new pixel in one direction: old pixels from first on, each with its weight.
type tap struct {
	first   int
	weights []uint32
}

// taps computes them for one direction.
func taps(to, from int) []tap {
	out := make([]tap, to)
	for i := range out {
		if from > to {
			out[i] = boxTap(i, to, from)
		} else {
			out[i] = lineTap(i, to, from)
		}
	}
	return out
}

// boxTap weighs the old pixels by how much of them lies under new pixel i; both counted in parts of 1/to of an old one.
func boxTap(i, to, from int) tap {
	begin, end := i*from, (i+1)*from
	t := tap{first: begin / to}
	left := uint32(1 << weightBits)
	for x := t.first; x*to < end; x++ {
		part := min((x+1)*to, end) - max(x*to, begin)
		w := uint32((part<<weightBits + from/2) / from)
		if (x+1)*to >= end {
			w = left // what rounding has left over or taken too much of
		}
		w = min(w, left)
		left -= w
		t.weights = append(t.weights, w)
	}
	return t
}

// lineTap interpolates at the centre of new pixel i.
func lineTap(i, to, from int) tap {
	at := ((2*i+1)*from<<weightBits)/(2*to) - 1<<(weightBits-1) // in the middle of the new pixel, of an old one's size
	at = max(0, min(at, (from-1)<<weightBits))
	second := uint32(at & (1<<weightBits - 1))
	if second == 0 {
		return tap{at >> weightBits, []uint32{1 << weightBits}}
	}
	return tap{at >> weightBits, []uint32{1<<weightBits - second, second}}
}

// scalePlane goes down the new lines: it adds up old lines first and then what is in them.
func scalePlane(to, from plane) {
	across, down := taps(to.width, from.width), taps(to.height, from.height)
	line := make([]uint32, from.width)
	for y, d := range down {
		clear(line)
		for i, w := range d.weights {
			for x, v := range from.row(d.first + i) {
				line[x] += w * uint32(v)
			}
		}
		for x := range line {
			line[x] = (line[x] + 1<<3) >> 4 // 16 bits: the next product stays within 32
		}
		out := to.row(y)
		for x, a := range across {
			sum := uint32(1 << (2*weightBits - 5))
			for i, w := range a.weights {
				sum += w * line[a.first+i]
			}
			out[x] = byte(sum >> (2*weightBits - 4))
		}
	}
}
