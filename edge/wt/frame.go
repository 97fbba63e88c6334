package wt

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
)

// id is the 16 bytes that a stream begins with. On the signalling side it is written as 32 hexadecimal digits.
type id [16]byte

// signalling is the id of the stream that carries the token.
var signalling id

// maxToken bounds the token's text, in bytes. Ours have about 400.
const maxToken = 8 << 10

var errTokenLength = errors.New("wt: token is empty or too long")

// parseID reads 32 lower-case hexadecimal digits other than those of the signalling stream.
func parseID(text string) (id, bool) {
	var b id
	if len(text) != 2*len(b) {
		return b, false
	}
	if _, err := hex.Decode(b[:], []byte(text)); err != nil || b == signalling || b.String() != text {
		return id{}, false
	}
	return b, true
}

func (b id) String() string { return hex.EncodeToString(b[:]) }

// readID reads the beginning of a stream. A stream that ends before is an error.
func readID(r io.Reader) (b id, err error) {
	_, err = io.ReadFull(r, b[:])
	return b, err
}

// readToken reads what follows the id of the signalling stream: uint32 length, little-endian, and the token. It takes no more than
// that from r, and no memory for a token that is too long.
func readToken(r io.Reader) (string, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n == 0 || n > maxToken {
		return "", errTokenLength
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", err
	}
	return string(text), nil
}
