package token

// Keys are the keys of one purpose that are in force at a time. Signing takes Current; all of them are accepted. At a rotation Next
// becomes Current and Current becomes Previous: what was signed before stays valid, and an edge that has not heard of the rotation
// accepts what others sign already. An empty key accepts nothing.
type Keys struct {
	Current  []byte
	Previous []byte // empty before the first rotation
	Next     []byte // empty: not made yet
}

// Signed is what was signed: a Token, Ticket or WebTransport.
type Signed interface{ Verify(key []byte) bool }

func (k Keys) all() [3][]byte { return [3][]byte{k.Current, k.Previous, k.Next} }

// Verify tells whether one of the keys signed it. It tries all of them whatever the first says, so its time does not tell which.
func (k Keys) Verify(s Signed) bool {
	right := false
	for _, key := range k.all() {
		if len(key) > 0 && s.Verify(key) {
			right = true
		}
	}
	return right
}

// Mint signs a token as the function of that name.
func (k Keys) Mint(t Token) Token { return Mint(k.Current, t) }

// MintTicket signs a ticket as the function of that name.
func (k Keys) MintTicket(t Ticket) Ticket { return MintTicket(k.Current, t) }

// MintWebTransport signs a WebTransport token as the function of that name.
func (k Keys) MintWebTransport(t WebTransport) WebTransport { return MintWebTransport(k.Current, t) }

// SealRecord seals a record as the function of that name.
func (k Keys) SealRecord(tokenID string, record []byte, random Nonce) string {
	return SealRecord(k.Current, tokenID, record, random)
}

// OpenRecord opens a record that one of the keys sealed.
func (k Keys) OpenRecord(tokenID, sealed string) ([]byte, error) {
	return openAny(k, func(key []byte) ([]byte, error) { return OpenRecord(key, tokenID, sealed) })
}

// SealState fills in the ticket's State as Ticket.SealState does.
func (k Keys) SealState(t Ticket, s State, random Nonce) Ticket {
	return t.SealState(k.Current, s, random)
}

// OpenState opens the state of a ticket that one of the keys sealed.
func (k Keys) OpenState(t Ticket) (State, error) { return openAny(k, t.OpenState) }

func openAny[T any](k Keys, open func(key []byte) (T, error)) (opened T, err error) {
	err = ErrSealed
	for _, key := range k.all() {
		value, failed := open(key)
		if failed == nil {
			opened, err = value, nil
		} else if failed == ErrNoSeal {
			err = failed
		}
	}
	return opened, err
}
