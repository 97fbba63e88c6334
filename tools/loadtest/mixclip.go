package loadtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"portico/tools/pionpeer/clip"
)

// The pictures of who is mixed: each shows its number in black and white along its upper edge, from which it is seen, after all
// encoding and scaling, when it was sent.
const (
	mixWidth, mixHeight = 640, 360
	mixRate             = 30
	stampBits           = 7
	stampFields         = stampBits + 2 // the bits, whether their sum is odd, and whether it is even: nothing else shows that
	stampPictures       = 1 << stampBits
)

// stampedClip makes the clip, of stampPictures pictures, in a folder.
func stampedClip(ctx context.Context, dir string) (*clip.Clip, error) {
	var filters []string
	field := func(i int, when string) {
		box := fmt.Sprintf("drawbox=x=iw*%d/%d:y=0:w=iw/%d+1:h=ih/5:t=fill:color=", i, stampFields, stampFields)
		filters = append(filters, box+"black", box+"white:enable='"+when+"'")
	}
	var sum []string
	for i := range stampBits {
		bit := fmt.Sprintf("mod(floor(n/%d),2)", 1<<i)
		field(i, bit)
		sum = append(sum, bit)
	}
	odd := "mod(" + strings.Join(sum, "+") + ",2)"
	field(stampBits, odd)
	field(stampBits+1, "1-"+odd)
	rate := strconv.Itoa(mixRate)
	file := filepath.Join(dir, "clip.ivf")
	_, err := ffmpeg(ctx, nil, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", mixWidth, mixHeight, mixRate),
		"-vf", strings.Join(filters, ","), "-frames:v", strconv.Itoa(stampPictures), "-c:v", "libvpx", "-deadline", "realtime",
		"-cpu-used", "8", "-b:v", "600k", "-g", rate, "-keyint_min", rate, "-auto-alt-ref", "0", "-error-resilient", "1", "-y", file)
	if err != nil {
		return nil, err
	}
	// It finds the pictures there and adds the sound.
	return clip.Make(ctx, dir, clip.Spec{Width: mixWidth, Height: mixHeight, Rate: mixRate, Length: stampPictures * time.Second / mixRate})
}

func ffmpeg(ctx context.Context, input []byte, arguments ...string) ([]byte, error) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, clip.ErrNoFFmpeg
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-hide_banner", "-loglevel", "error"}, arguments...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, &said)
	}
	return out.Bytes(), nil
}

// shown is a picture of VP8 that came.
type shown struct {
	at   time.Time
	data []byte
}

// stamps decodes pictures, the first of which is a key frame, and reads from each the number of the clip's picture that it shows in its
// part first/first of the width and the height; -1 where it is not to be read.
func stamps(ctx context.Context, pictures []shown, width, height, parts int) ([]int, error) {
	ivf := append([]byte("DKIF\x00\x00\x20\x00VP80"), make([]byte, 20)...)
	binary.LittleEndian.PutUint16(ivf[12:], uint16(width))
	binary.LittleEndian.PutUint16(ivf[14:], uint16(height))
	binary.LittleEndian.PutUint32(ivf[16:], mixRate)
	binary.LittleEndian.PutUint32(ivf[20:], 1)
	for i, p := range pictures {
		ivf = binary.LittleEndian.AppendUint32(ivf, uint32(len(p.data)))
		ivf = binary.LittleEndian.AppendUint64(ivf, uint64(i))
		ivf = append(ivf, p.data...)
	}
	// The stamp's fields become pixels: the middle line of the upper fifth.
	const columns, rows = 3 * stampFields, 15
	crop := fmt.Sprintf("crop=iw/%d:ih/%d:0:0,scale=%d:%d:flags=area", parts, parts, columns, rows)
	raw, err := ffmpeg(ctx, ivf, "-f", "ivf", "-i", "-", "-vf", crop, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	if err != nil {
		return nil, err
	}
	if len(raw) != len(pictures)*columns*rows {
		return nil, fmt.Errorf("%d pictures were decoded of %d", len(raw)/(columns*rows), len(pictures))
	}
	numbers := make([]int, len(pictures))
	for i := range numbers {
		numbers[i] = stampIn(raw[i*columns*rows+columns : i*columns*rows+2*columns])
	}
	return numbers, nil
}

// stampIn reads a line with three pixels of each field.
func stampIn(line []byte) int {
	number, sum := 0, 0
	bit := func(i int) int {
		if line[3*i+1] > 127 {
			return 1
		}
		return 0
	}
	for i := range stampBits {
		number |= bit(i) << i
		sum += bit(i)
	}
	if bit(stampBits) != sum%2 || bit(stampBits+1) == sum%2 {
		return -1
	}
	return number
}

// vp8Size is that of a key frame (RFC 6386 section 9.1), 0 of others.
func vp8Size(frame []byte) (width, height int) {
	if len(frame) < 10 || frame[0]&1 != 0 {
		return 0, 0
	}
	return int(binary.LittleEndian.Uint16(frame[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(frame[8:]) & 0x3fff)
}

// errNoPictures is of a stream in which nothing came that could be measured.
var errNoPictures = errors.New("no pictures came")
