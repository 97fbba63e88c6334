package store

import (
	"context"
	"database/sql"
	"time"

	"portico/shared/jsonvalue"
)

// keepExpired is how much longer than TokenLife a record stays while nobody consumes any: long enough for a late client to
// learn that its token has expired, and not that there never was one.
const keepExpired = TokenLife

// purgeAtOnce is how many old records a call removes on its way at most.
const purgeAtOnce = 500

func (s *sqlStore) PutToken(ctx context.Context, t TokenRecord) error {
	return s.run(ctx, "record token", func(ctx context.Context) error {
		return s.transaction(ctx, func(tx *sql.Tx) error {
			if err := lock(ctx, tx, "tokens", t.Service); err != nil {
				return err
			}
			cutoff := time.Now().Add(-TokenLife - keepExpired)
			if err := s.purgeTokens(ctx, tx, cutoff); err != nil {
				return err
			}
			err := below(ctx, tx, s.limits.Tokens, `SELECT COUNT(*) FROM tokens WHERE service = $1 AND created >= $2`, t.Service, cutoff.UnixMilli())
			if err != nil {
				return err
			}
			return insert(ctx, tx, `INSERT INTO tokens (id, service, created, record) VALUES ($1, $2, $3, $4)`,
				t.ID, t.Service, t.Created.UnixMilli(), string(recordValue(t).Append(nil)))
		})
	})
}

func (s *sqlStore) ConsumeToken(ctx context.Context, id string) (TokenRecord, error) {
	return do(ctx, s, "consume token", func(ctx context.Context) (record TokenRecord, err error) {
		err = s.transaction(ctx, func(tx *sql.Tx) error {
			var text string
			var created int64
			err := tx.QueryRowContext(ctx, `DELETE FROM tokens WHERE id = $1 RETURNING created, record`, id).Scan(&created, &text)
			if err != nil {
				return err
			}
			if record, err = readRecord(id, created, text); err != nil {
				return err
			}
			return s.purgeTokens(ctx, tx, time.Now().Add(-TokenLife))
		})
		if err == nil && time.Since(record.Created) > TokenLife {
			err = ErrExpired
		}
		return record, err
	})
}

// purgeTokens removes records that were made before the cutoff. It waits for nobody, or two that hold what the other wants would
// wait for ever: what somebody else is removing is left out.
func (s *sqlStore) purgeTokens(ctx context.Context, tx *sql.Tx, cutoff time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE created < $1 ORDER BY created LIMIT $2`+s.skipLocked+`)`,
		cutoff.UnixMilli(), purgeAtOnce)
	return err
}

// recordValue is a record as the table of tokens has it: all of it, but for its id and time.
func recordValue(t TokenRecord) jsonvalue.Value {
	members := []jsonvalue.Member{
		jsonvalue.M("host", jsonvalue.Of(t.Host)),
		jsonvalue.M("secure", jsonvalue.OfBool(t.Secure)),
		jsonvalue.M("webTransportUrl", jsonvalue.Of(t.WebTransportURL)),
	}
	for _, f := range t.texts() {
		members = append(members, jsonvalue.M(f.name, jsonvalue.Of(*f.value)))
	}
	return jsonvalue.OfObject(members...)
}

func readRecord(id string, created int64, text string) (TokenRecord, error) {
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	t := TokenRecord{
		ID: id, Created: time.UnixMilli(created),
		Host: v.Get("host").Text(), Secure: v.Get("secure").Bool(), WebTransportURL: v.Get("webTransportUrl").Text(),
	}
	for _, f := range t.texts() {
		*f.value = v.Get(f.name).Text()
	}
	return t, err
}
