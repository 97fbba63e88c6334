package store

import (
	"errors"
	"math"
	"time"

	"portico/shared/jsonvalue"
)

// ErrRecord is the answer to a text that is no record.
var ErrRecord = errors.New("not a token record")

// maxRecord bounds an encoded record: the longest names that the management API takes, each byte escaped, and the rest.
const maxRecord = 8 << 10

// EncodeRecord is a record as JSON, to travel sealed within its token: without the token's id, to which sealing binds it, and without
// what stands in the token already (host, secure, webTransportUrl).
func EncodeRecord(t TokenRecord) []byte {
	members := []jsonvalue.Member{jsonvalue.M("created", jsonvalue.OfInt(t.Created.UnixMilli()))}
	for _, f := range t.texts() {
		if *f.value != "" {
			members = append(members, jsonvalue.M(f.name, jsonvalue.Of(*f.value)))
		}
	}
	if t.Unstored {
		members = append(members, jsonvalue.M("unstored", jsonvalue.OfBool(true)))
	}
	return jsonvalue.OfObject(members...).Append(nil)
}

// DecodeRecord reads what EncodeRecord wrote for the token of that id; ErrRecord for everything else. Whether it has expired, or was
// used, is for the caller to see.
func DecodeRecord(id string, data []byte) (TokenRecord, error) {
	if len(data) > maxRecord {
		return TokenRecord{}, ErrRecord
	}
	v, err := jsonvalue.Parse(data, jsonvalue.Limits{Depth: 2, Values: 32})
	created, ok := v.Get("created").Int()
	if err != nil || !ok || created < 0 || created > math.MaxInt64/int64(time.Millisecond) {
		return TokenRecord{}, ErrRecord
	}
	t := TokenRecord{ID: id, Created: time.UnixMilli(created), Unstored: v.Get("unstored").Bool()}
	for _, f := range t.texts() {
		value := v.Get(f.name)
		if value.Exists() && value.Kind() != jsonvalue.String {
			return TokenRecord{}, ErrRecord
		}
		*f.value = value.Text()
	}
	if t.Room == "" || t.User == "" || t.Role == "" {
		return TokenRecord{}, ErrRecord
	}
	return t, nil
}

type textField struct {
	name  string
	value *string
}

// texts are the record's texts, by the names that they have wherever it is written.
func (t *TokenRecord) texts() []textField {
	return []textField{
		{"user", &t.User}, {"role", &t.Role}, {"room", &t.Room}, {"service", &t.Service},
		{"isp", &t.Origin.ISP}, {"region", &t.Origin.Region}, {"code", &t.Code},
	}
}
