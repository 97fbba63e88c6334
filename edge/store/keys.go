package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"

	"portico/shared/token"
)

// ClusterKeys are the keys of that name ("token", "ticket") that are in force, made when they are not there yet. Every edge reads them
// again now and then: those before and after the current ones are among them, so that there is time (see token.Keys).
func ClusterKeys(ctx context.Context, s Store, name string) (keys token.Keys, err error) {
	generation, err := keyGeneration(ctx, s, name)
	if err != nil {
		return keys, err
	}
	for of, key := range map[int]*[]byte{generation - 1: &keys.Previous, generation: &keys.Current, generation + 1: &keys.Next} {
		if of < 1 {
			continue
		}
		if *key, err = s.Key(ctx, keyOfGeneration(name, of), randomKey); err != nil {
			return token.Keys{}, err
		}
	}
	return keys, nil
}

// RotateKeys puts the next keys of that name in force and takes the previous ones out. What edges sign stays valid until the rotation
// after this one, so two rotations lie further apart than the longest life of a token or ticket, and than edges take to read the keys.
func RotateKeys(ctx context.Context, s Store, name string) error {
	generation, err := keyGeneration(ctx, s, name)
	if err != nil {
		return err
	}
	return s.SetSetting(ctx, generationSetting(name), strconv.Itoa(generation+1))
}

func generationSetting(name string) string { return "keys " + name }

// keyOfGeneration is the name of a key in the store: the first is that of stores from before keys were rotated.
func keyOfGeneration(name string, generation int) string {
	if generation == 1 {
		return name
	}
	return name + " " + strconv.Itoa(generation)
}

func keyGeneration(ctx context.Context, s Store, name string) (int, error) {
	text, err := s.Setting(ctx, generationSetting(name))
	if errors.Is(err, ErrNotFound) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, errors.New("store: the setting " + strconv.Quote(generationSetting(name)) + " is no number")
	}
	return n, nil
}

func randomKey() []byte {
	var random [64]byte
	rand.Read(random[:]) // never fails
	return token.KeyFromRandom(random)
}
