package inspect

// Indication says what a frame is to a decode target (RTP payload format for AV1, section A.4.1): a set of frames that can be
// decoded for one quality.
type Indication uint8

// The indications.
const (
	NotPresent  Indication = iota // no part of it
	Discardable                   // part of it, but no other frame of it needs this one
	Switch                        // who has this frame can decode all that follows of the decode target
	Required                      // other frames of it need this one
)

// Bounds of a structure.
const (
	maxTemplates = 64
	MaxTargets   = 32
)

// Structure is a template dependency structure: the layers, and the decode targets that they can be put together to. It is not
// changed once it is published.
type Structure struct {
	Count   int // of Targets
	Targets [MaxTargets]DecodeTarget
	Sizes   [MaxSpatial]Size // of the spatial layers; 0 where it does not tell
	Spatial int              // how many there are

	offset    uint8
	chains    int
	templates int
	template  [maxTemplates]template
}

// DecodeTarget is the highest layers in it.
type DecodeTarget struct{ Spatial, Temporal uint8 }

type template struct {
	layer     DecodeTarget
	targets   uint64
	diffs     [maxDiffs]uint8
	diffCount uint8
}

// Indication is what the frame is to the decode target with that number.
func (f *Frame) Indication(target int) Indication {
	return Indication(f.Targets >> (2 * (target & 31)) & 3)
}

// Dependencies reads the dependency descriptors of one stream, a header extension (RTP payload format for AV1, appendix A).
// It keeps the structure that came last, by which the later ones are read. The zero value is ready; not safe for concurrent use.
//
//	start, end of frame 1 bit each, template 6, frame number 16; then, if longer than these 3 bytes:
//	structure present, active decode targets present, custom indications, differences, chains: 1 bit each
//	the structure, the active decode targets (a bit for each), and what is custom
type Dependencies struct {
	structure *Structure
	scratch   Structure
	active    uint32
}

// DescriptorNumberAt is where in a dependency descriptor the two bytes of the frame number stand.
const DescriptorNumberAt = 1

// Read reads a descriptor. ok is false when it makes no sense, or not without a structure that has not come. Only a new structure
// allocates.
func (d *Dependencies) Read(descriptor []byte) (f Frame, ok bool) {
	if len(descriptor) < 3 {
		return f, false
	}
	f.Begin, f.End = descriptor[0]&0x80 != 0, descriptor[0]&0x40 != 0
	f.Number, f.Layered = be16(descriptor[DescriptorNumberAt:]), true
	r := bitReader{data: descriptor[3:]}
	var custom [3]bool
	active := d.active
	if len(descriptor) > 3 {
		structure, activePresent := r.bits(1) != 0, r.bits(1) != 0
		for i := range custom {
			custom[i] = r.bits(1) != 0
		}
		if structure {
			if !d.scratch.read(&r) {
				return f, false
			}
			d.adopt()
			f.Key = true
			active = uint32(1<<d.structure.Count - 1)
		}
		if d.structure == nil {
			return f, false
		}
		if activePresent {
			active = r.bits(d.structure.Count)
		}
	}
	s := d.structure
	if s == nil || r.failed {
		return f, false
	}
	i := int(descriptor[0]&0x3f+64-s.offset) % 64
	if i >= s.templates {
		return f, false
	}
	t := &s.template[i]
	f.Spatial, f.Temporal, f.Targets, f.DiffCount, f.Diffs = t.layer.Spatial, t.layer.Temporal, t.targets, t.diffCount, t.diffs
	f.Structure = s
	f.readCustom(&r, custom)
	if r.failed {
		return Frame{}, false
	}
	d.active = active
	f.Active = active
	return f, true
}

// adopt makes the structure just read the present one.
func (d *Dependencies) adopt() {
	if d.structure == nil || *d.structure != d.scratch {
		kept := d.scratch
		d.structure = &kept
	}
}

// readCustom reads what a frame has of its own instead of its template's.
func (f *Frame) readCustom(r *bitReader, custom [3]bool) {
	s := f.Structure
	if custom[0] {
		f.Targets = readIndications(r, s.Count)
	}
	if custom[1] {
		f.DiffCount, f.Diffs = 0, [maxDiffs]uint8{}
		for size := r.bits(2); size != 0 && !r.failed; size = r.bits(2) {
			addDiff(&f.Diffs, &f.DiffCount, r.bits(4*int(size))+1)
		}
	}
	if custom[2] {
		r.bits(min(8*s.chains, 32))
		for range max(0, s.chains-4) {
			r.bits(8)
		}
	}
}

func addDiff(diffs *[maxDiffs]uint8, count *uint8, diff uint32) {
	if *count == TooMany || int(*count) == len(diffs) || diff > 255 {
		*count = TooMany
		return
	}
	diffs[*count] = uint8(diff)
	*count++
}

func readIndications(r *bitReader, n int) (v uint64) {
	for i := range n {
		v |= uint64(r.bits(2)) << (2 * i)
	}
	return v
}

// read reads a template dependency structure (section A.8.3): 6 bits offset of template ids, 5 bits decode targets less 1, then
// for all templates their layers, indications, differences and chains, and the sizes.
func (s *Structure) read(r *bitReader) bool {
	*s = Structure{}
	s.offset = uint8(r.bits(6))
	s.Count = int(r.bits(5)) + 1
	var layer DecodeTarget
	for next := uint32(0); next != 3; {
		if s.templates == maxTemplates || r.failed {
			return false
		}
		s.template[s.templates].layer = layer
		s.templates++
		switch next = r.bits(2); next {
		case 1:
			layer.Temporal++
		case 2:
			layer.Temporal = 0
			layer.Spatial++
		}
	}
	s.Spatial = int(layer.Spatial) + 1
	if s.Spatial > MaxSpatial {
		return false
	}
	for i := range s.templates {
		s.template[i].targets = readIndications(r, s.Count)
	}
	for i := range s.templates {
		t := &s.template[i]
		for r.bits(1) != 0 {
			addDiff(&t.diffs, &t.diffCount, r.bits(4)+1)
		}
	}
	s.readChains(r)
	s.findTargets()
	if r.bits(1) != 0 {
		for i := range s.Spatial {
			s.Sizes[i] = Size{Width: int(r.bits(16)) + 1, Height: int(r.bits(16)) + 1}
		}
	}
	return !r.failed
}

// readChains steps over the chains, of which only the number is needed: which frames a decode target needs is found out from what
// was forwarded.
func (s *Structure) readChains(r *bitReader) {
	s.chains = int(r.nonSymmetric(uint32(s.Count) + 1))
	if s.chains == 0 {
		return
	}
	for range s.Count {
		r.nonSymmetric(uint32(s.chains))
	}
	for range s.templates * s.chains {
		r.bits(4)
	}
}

// findTargets finds the layers of the decode targets: the highest of the templates that are part of them.
func (s *Structure) findTargets() {
	for i := range s.Count {
		d := &s.Targets[i]
		for j := range s.templates {
			t := &s.template[j]
			if t.targets>>(2*i)&3 != uint64(NotPresent) {
				d.Spatial, d.Temporal = max(d.Spatial, t.layer.Spatial), max(d.Temporal, t.layer.Temporal)
			}
		}
	}
}

// nonSymmetric reads a number below n in as few bits as it takes (AV1 specification, section 4.10.7).
func (r *bitReader) nonSymmetric(n uint32) uint32 {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	m := uint32(1)<<w - n
	v := r.bits(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.bits(1)
}
