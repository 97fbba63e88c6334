package g722

// Tables of the recommendation.
var (
	mirror = [12]int{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11} // half of the filter, which is symmetrical

	twoBits  = [4]int{-7408, -1616, 7408, 1616}
	fourBits = [16]int{0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0}
	sixBits  = [64]int{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	// Where the quantiser of the lower band decides, in parts of the scale.
	decisions = [30]int{
		0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612,
		1765, 1980, 2195, 2557, 2919,
	}
	// By how much the logarithm of the scale changes, by the size of what was sent, which the four upper bits give.
	stepsLow  = [16]int{-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60}
	stepsHigh = [4]int{798, -214, 798, -214}
	// Powers of two to the thirty-seconds, times 2048.
	powers = [32]int{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158,
		3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
)

// clip keeps a value of sound within -limit to limit - 1.
func clip(v, limit int) int { return max(-limit, min(v, limit-1)) }

func saturate(v int) int { return clip(v, 1<<15) }

// filter is the quadrature mirror filter, the same for both ways.
type filter struct{ x [24]int }

// next takes two values and gives the sums over the odd and the even places.
func (f *filter) next(a, b int) (odd, even int) {
	copy(f.x[:], f.x[2:])
	f.x[22], f.x[23] = a, b
	for i, m := range mirror {
		even += f.x[2*i] * m
		odd += f.x[2*i+1] * mirror[11-i]
	}
	return odd, even
}

// band is the predictor of one band and the scale of its quantiser; index 0 is the newest.
type band struct {
	s, zeros int // the guess, and the part of it that comes of the zeros
	log      int // logarithm of the scale
	scale    int
	poles    [2]int
	zero     [6]int
	missed   [6]int // what the guess missed by, as the other end knows it
	made     [2]int // the sound made
	part     [2]int // the sound made but for the poles
}

func newBand(scale int) band { return band{scale: scale} }

// lower adapts the lower band to the six bits sent: INVQAL, LOGSCL, SCALEL.
func (b *band) lower(code int) {
	code >>= 2
	missed := b.scale * fourBits[code] >> 15
	b.rescale(stepsLow[code], 18432, 8)
	b.adapt(missed)
}

// higher adapts the higher band to the two bits sent: INVQAH, LOGSCH, SCALEH.
func (b *band) higher(code int) {
	missed := b.scale * twoBits[code] >> 15
	b.rescale(stepsHigh[code], 22528, 10)
	b.adapt(missed)
}

func (b *band) rescale(step, most, shift int) {
	b.log = max(0, min(b.log*127>>7+step, most))
	if n := shift - b.log>>11; n < 0 {
		b.scale = powers[b.log>>6&31] << -n << 2
	} else {
		b.scale = powers[b.log>>6&31] >> n << 2
	}
}

// chooseLow quantises the lower band: QUANTL.
func (b *band) chooseLow(x int) (code int) {
	e := saturate(x - b.s)
	size := e
	if e < 0 {
		size = ^e
	}
	i := 1
	for i < len(decisions) && size >= decisions[i]*b.scale>>12 {
		i++
	}
	switch {
	case e >= 0:
		return 62 - i
	case i <= 2:
		return 64 - i
	}
	return 34 - i
}

// chooseHigh quantises the higher band: QUANTH.
func (b *band) chooseHigh(x int) (code int) {
	e := saturate(x - b.s)
	if e >= 0 {
		if e >= 564*b.scale>>12 {
			return 2
		}
		return 3
	}
	if ^e >= 564*b.scale>>12 {
		return 0
	}
	return 1
}

// sameSign of two values, of which zero counts as positive.
func sameSign(a, b int) bool { return (a < 0) == (b < 0) }

// signed is v, or -v.
func signed(plus bool, v int) int {
	if plus {
		return v
	}
	return -v
}

// adapt moves the predictor on: RECONS, PARREC, UPPOL2, UPPOL1, UPZERO, DELAYA, FILTEP, FILTEZ, PREDIC.
func (b *band) adapt(missed int) {
	made, part := saturate(b.s+missed), saturate(b.zeros+missed)
	same0, same1 := sameSign(part, b.part[0]), sameSign(part, b.part[1])

	wide := min(signed(!same0, saturate(b.poles[0]<<2)), 32767)
	second := wide>>7 + signed(same1, 128) + b.poles[1]*32512>>15
	second = max(-12288, min(second, 12288))
	most := saturate(15360 - second)
	first := max(-most, min(saturate(signed(same0, 192)+b.poles[0]*32640>>15), most))

	grow := 128
	if missed == 0 {
		grow = 0
	}
	for i, z := range b.zero {
		b.zero[i] = saturate(signed(sameSign(missed, b.missed[i]), grow) + z*32640>>15)
	}

	copy(b.missed[1:], b.missed[:])
	b.missed[0] = missed
	b.made[1], b.made[0] = b.made[0], made
	b.part[1], b.part[0] = b.part[0], part
	b.poles = [2]int{first, second}

	guess := saturate(b.poles[0]*saturate(2*b.made[0])>>15 + b.poles[1]*saturate(2*b.made[1])>>15)
	b.zeros = 0
	for i := len(b.zero) - 1; i >= 0; i-- {
		b.zeros += b.zero[i] * saturate(2*b.missed[i]) >> 15
	}
	b.zeros = saturate(b.zeros)
	b.s = saturate(guess + b.zeros)
}
