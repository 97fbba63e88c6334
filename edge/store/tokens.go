package store

import (
	"context"
	"database/sql"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// keepExpired is how much longer than TokenLife a record stays while nobody consumes any: long enough for a late client to
// learn that its token has expired, and not that there never was one.
const keepExpired = TokenLife

func (s *sqlStore) PutToken(ctx context.Context, t TokenRecord) error {
	return wrap("record token", inTransaction(ctx, s.write, func(tx *sql.Tx) error {
		if err := purgeTokens(ctx, tx, TokenLife+keepExpired); err != nil {
			return err
		}
		if err := below(ctx, tx, s.limits.Tokens, `SELECT COUNT(*) FROM tokens WHERE service = $1`, t.Service); err != nil {
			return err
		}
		return insert(ctx, tx, `INSERT INTO tokens (id, service, created, record) VALUES ($1, $2, $3, $4)`,
			t.ID, t.Service, t.Created.UnixMilli(), string(recordValue(t).Append(nil)))
	}))
}

func (s *sqlStore) ConsumeToken(ctx context.Context, id string) (TokenRecord, error) {
	var record TokenRecord
	err := inTransaction(ctx, s.write, func(tx *sql.Tx) error {
		var text string
		var created int64
		err := tx.QueryRowContext(ctx, `DELETE FROM tokens WHERE id = $1 RETURNING created, record`, id).Scan(&created, &text)
		if err != nil {
			return err
		}
		record, err = readRecord(id, created, text)
		if err != nil {
			return err
		}
		return purgeTokens(ctx, tx, TokenLife)
	})
	if err == nil && time.Since(record.Created) > TokenLife {
		err = ErrExpired
	}
	if err != nil {
		return TokenRecord{}, wrap("consume token", err)
	}
	return record, nil
}

func purgeTokens(ctx context.Context, tx *sql.Tx, age time.Duration) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE created < $1`, time.Now().Add(-age).UnixMilli())
	return err
}

func recordValue(t TokenRecord) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("user", jsonvalue.Of(t.User)),
		jsonvalue.M("role", jsonvalue.Of(t.Role)),
		jsonvalue.M("room", jsonvalue.Of(t.Room)),
		jsonvalue.M("service", jsonvalue.Of(t.Service)),
		jsonvalue.M("isp", jsonvalue.Of(t.Origin.ISP)),
		jsonvalue.M("region", jsonvalue.Of(t.Origin.Region)),
		jsonvalue.M("code", jsonvalue.Of(t.Code)),
		jsonvalue.M("host", jsonvalue.Of(t.Host)),
		jsonvalue.M("secure", jsonvalue.OfBool(t.Secure)),
		jsonvalue.M("webTransportUrl", jsonvalue.Of(t.WebTransportURL)),
	)
}

func readRecord(id string, created int64, text string) (TokenRecord, error) {
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	return TokenRecord{
		ID:              id,
		User:            v.Get("user").Text(),
		Role:            v.Get("role").Text(),
		Room:            v.Get("room").Text(),
		Service:         v.Get("service").Text(),
		Created:         time.UnixMilli(created),
		Origin:          conference.Origin{ISP: v.Get("isp").Text(), Region: v.Get("region").Text()},
		Code:            v.Get("code").Text(),
		Host:            v.Get("host").Text(),
		Secure:          v.Get("secure").Bool(),
		WebTransportURL: v.Get("webTransportUrl").Text(),
	}, err
}
