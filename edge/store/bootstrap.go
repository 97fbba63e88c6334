package store

import (
	"context"
	"encoding/base64"
	"errors"
	"time"
)

// Names of what Bootstrap makes, as in every OWT installation.
const (
	SuperServiceName  = "superService"
	SampleServiceName = "sampleService"

	superSetting = "superService" // its value is the id
)

// Bootstrap makes sure that there is a super service. At the first start it creates it and a sample service with random keys,
// and says so by created; later it only looks them up. The sample service is empty when it has been deleted since.
func Bootstrap(ctx context.Context, s Store) (super, sample Service, created bool, err error) {
	id, err := s.Setting(ctx, superSetting)
	if err == nil {
		if super, err = s.Service(ctx, id); err != nil {
			return Service{}, Service{}, false, err
		}
		sample, err = s.ServiceByName(ctx, SampleServiceName)
		if errors.Is(err, ErrNotFound) {
			sample, err = Service{}, nil
		}
		return super, sample, false, err
	}
	if !errors.Is(err, ErrNotFound) {
		return Service{}, Service{}, false, err
	}
	super, created, err = ensureService(ctx, s, SuperServiceName)
	if err == nil {
		var more bool
		sample, more, err = ensureService(ctx, s, SampleServiceName)
		created = created || more
	}
	if err == nil { // last, so that an interrupted first start is taken up again by the next
		err = s.SetSetting(ctx, superSetting, super.ID)
	}
	return super, sample, created, err
}

// ensureService finds the service of that name or creates it; of several nodes that start together one creates it.
func ensureService(ctx context.Context, s Store, name string) (Service, bool, error) {
	made := Service{ID: NewID(), Name: name, Key: NewServiceKey(), Created: time.Now()}
	err := s.CreateService(ctx, made)
	created := err == nil
	if err != nil && !errors.Is(err, ErrExists) {
		return Service{}, false, err
	}
	service, err := s.ServiceByName(ctx, name)
	return service, created, err
}

// NewServiceKey makes a service key: base64 of 128 random bytes.
func NewServiceKey() string { return base64.StdEncoding.EncodeToString(randomBytes(128)) }
