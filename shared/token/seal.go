package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"

	"portico/shared/jsonvalue"
)

// What opening a sealed member can say. It never tells what is wrong with one that somebody made up.
var (
	ErrNoSeal = errors.New("the token carries nothing sealed") // it comes from an edge that does not seal, or somebody took it out
	ErrSealed = errors.New("what the token carries was not sealed by this cluster")
)

const (
	sealForm  = 1
	nonceSize = 12
	// maxSealed bounds the text of a sealed member; records have 8 KiB at most, before base64.
	maxSealed = 12 << 10
)

var sealText = base64.RawURLEncoding.Strict()

// Nonce is 12 random bytes, another for each thing sealed.
type Nonce [nonceSize]byte

// Purposes of the keys that are derived from a signing key.
const (
	recordPurpose = "portico token record"
	statePurpose  = "portico ticket state"
)

// SealRecord is the member "record" for the token of that id. The key is the one that signs tokens; what is sealed with it under
// one id opens under no other.
func SealRecord(key []byte, tokenID string, record []byte, random Nonce) string {
	return seal(key, recordPurpose, tokenID, record, random)
}

// OpenRecord is what SealRecord was given: ErrNoSeal when there is nothing, ErrSealed when it was not made with the key for that id.
func OpenRecord(key []byte, tokenID, sealed string) ([]byte, error) {
	return open(key, recordPurpose, tokenID, sealed)
}

// State is what an edge has to know to give a participant its place again: the room, the edge that had the participant, the
// home's epoch as that edge knew it, and which of the participant's tickets this is.
type State struct {
	Room       string
	Edge       string
	Epoch      uint64
	Generation uint64 // grows with each ticket of a participant; the room's directory takes only one that is higher than its own
}

// SealState fills in the ticket's State. It is bound to the ticket's participant and times, so it comes after these and says
// nothing in another ticket; the signature does not cover it.
func (t Ticket) SealState(key []byte, s State, random Nonce) Ticket {
	t.State = seal(key, statePurpose, t.signed(), jsonvalue.OfObject(
		jsonvalue.M("room", jsonvalue.Of(s.Room)),
		jsonvalue.M("edge", jsonvalue.Of(s.Edge)),
		jsonvalue.M("epoch", ofUint(s.Epoch)),
		jsonvalue.M("generation", ofUint(s.Generation)),
	).Append(nil), random)
	return t
}

// OpenState is what SealState was given for this ticket, else ErrNoSeal or ErrSealed. The ticket's signature and time are checked
// by Verify and Valid.
func (t Ticket) OpenState(key []byte) (State, error) {
	text, err := open(key, statePurpose, t.signed(), t.State)
	if err != nil {
		return State{}, err
	}
	return readState(text)
}

func readState(text []byte) (State, error) {
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Depth: 2, Values: 16})
	epoch, okEpoch := readUint(v.Get("epoch"))
	generation, okGeneration := readUint(v.Get("generation"))
	if err != nil || !okEpoch || !okGeneration || !texts(v, "room", "edge") {
		return State{}, ErrSealed
	}
	return State{Room: v.Get("room").Text(), Edge: v.Get("edge").Text(), Epoch: epoch, Generation: generation}, nil
}

// Numbers of 64 bits go as text: as numbers of JSON they would lose their last digits.
func ofUint(n uint64) jsonvalue.Value { return jsonvalue.Of(strconv.FormatUint(n, 10)) }

func readUint(v jsonvalue.Value) (uint64, bool) {
	n, err := strconv.ParseUint(v.Text(), 10, 64)
	return n, err == nil
}

func seal(key []byte, purpose, bound string, plain []byte, nonce Nonce) string {
	out := append([]byte{sealForm}, nonce[:]...)
	return sealText.EncodeToString(aead(key, purpose).Seal(out, nonce[:], plain, []byte(bound)))
}

func open(key []byte, purpose, bound, sealed string) ([]byte, error) {
	if sealed == "" {
		return nil, ErrNoSeal
	}
	if len(sealed) > maxSealed || len(key) == 0 {
		return nil, ErrSealed
	}
	raw, err := sealText.DecodeString(sealed)
	if err != nil || len(raw) < 1+nonceSize || raw[0] != sealForm {
		return nil, ErrSealed
	}
	plain, err := aead(key, purpose).Open(nil, raw[1:1+nonceSize], raw[1+nonceSize:], []byte(bound))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// aead is AES-256-GCM under HMAC-SHA-256 of the purpose: of a signing key, which is not used for anything else but signing.
func aead(key []byte, purpose string) cipher.AEAD {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block is AES's
	}
	return gcm
}
