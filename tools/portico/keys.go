package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"portico/edge/store"
	"portico/tools/portico/manage"
)

// defaultData is the data folder of an edge that was told nothing else.
const defaultData = "data"

// keys prints what a program needs to use the management API, as lines for a shell.
func keys(ctx context.Context, args []string, out, _ io.Writer) error {
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	data := flags.String("data", defaultData, "the edge's data `folder`, or the url of its PostgreSQL database")
	keyFile := flags.String("store-key", "", "`file` with the key of the store's secrets, as store.key_file of the edge; for PostgreSQL in a cluster cluster-store.key in its data folder")
	if err := parse(flags, args, out, "Prints the services of an edge with their keys, to be set in the environment of a program that\nuses the management API. Whoever can read the data folder can read the keys."); err != nil {
		return err
	}
	s, err := openPlace(ctx, *data, *keyFile)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	services, err := s.Services(ctx)
	if err != nil {
		return fmt.Errorf("the services cannot be read: %w", err)
	}
	for _, service := range services {
		if _, err := fmt.Fprintf(out, "# %s\nPORTICO_SERVICE=%s\nPORTICO_KEY=%s\n", service.Name, service.ID, service.Key); err != nil {
			return err
		}
	}
	return nil
}

// openPlace opens a store in a data folder or a database.
func openPlace(ctx context.Context, place, keyFile string) (store.Store, error) {
	if !store.IsPostgres(place) && keyFile == "" {
		return openStore(ctx, place)
	}
	return store.Open(ctx, place, store.Options{KeyFile: keyFile})
}

// openStore opens the store of a data folder that exists: looking must not make one.
func openStore(ctx context.Context, data string) (store.Store, error) {
	if _, err := os.Stat(filepath.Join(data, store.DatabaseFile)); err != nil {
		return nil, fmt.Errorf("there is no store in the folder %q: start the edge once, or name its data folder with -data", data)
	}
	s, err := store.OpenSQLite(ctx, data, store.Limits{})
	if err != nil {
		return nil, fmt.Errorf("the store in %s cannot be opened: %w", data, err)
	}
	return s, nil
}

// serviceNamed finds a service in the store of a data folder.
func serviceNamed(ctx context.Context, data, name string) (store.Service, error) {
	s, err := openStore(ctx, data)
	if err != nil {
		return store.Service{}, err
	}
	defer func() { _ = s.Close() }()
	return s.ServiceByName(ctx, name)
}

// parse reads the flags of a verb without arguments; asked for help, it prints about and the flags.
func parse(flags *flag.FlagSet, args []string, out io.Writer, about string) error {
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "Usage: portico %s [flags]\n\n%s\n\nFlags:\n", flags.Name(), about)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %v; `portico %s -h` shows the flags", manage.ErrUsage, err, flags.Name())
	case flags.NArg() > 0:
		return fmt.Errorf("%w: %q is too much; `portico %s -h` shows the flags", manage.ErrUsage, flags.Arg(0), flags.Name())
	}
	return nil
}
