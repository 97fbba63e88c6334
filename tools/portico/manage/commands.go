package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"portico/shared/jsonvalue"
)

// ErrUsage is wrapped by errors about the command line itself: the caller may exit with another status.
var ErrUsage = errors.New("wrong usage")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
}

// A command is one verb: its arguments in the help text, their number, its own flags and what it does.
type command struct {
	name, arguments, summary string
	count                    int // of positional arguments; -1: any
	flags                    func(*flag.FlagSet, *options)
	run                      func(ctx context.Context, c *Client, args []string, o *options, out io.Writer) error
}

// options are the flags of all commands.
type options struct {
	keyFile              string
	json                 bool
	participants, inputs int
	noMix                bool
	options              string
	user, role           string
	place                Place
	participant          string
	events               bool
	wait                 bool
	folder               string
}

var roomCommands = []command{
	{"create", "NAME", "create a room and print its id", 1, createFlags, createRoom},
	{"list", "", "list the rooms of the service", 0, jsonFlag, listRooms},
	{"show", "ROOM", "print the configuration of a room as JSON", 1, nil, showRoom},
	{"quality", "ROOM STREAM", "show what each subscriber gets of a stream, and why", 2, qualityFlags, showQuality},
	{"delete", "ROOM", "delete a room and end what goes on in it", 1, nil, deleteRoom},
}

var tokenCommand = command{"token", "ROOM", "print a token that admits one client to a room, once and within three minutes", 1, tokenFlags, createToken}

const common = `
ROOM is the id of a room or its name, if only one room has it. NAME, ROOM and STREAM may stand before or after the flags.
The edge and the service are also read from PORTICO_URL, PORTICO_SERVICE and PORTICO_KEY.
`

// Room runs `portico room create|list|show|quality|delete`; args are what follows the word "room". Results and help texts go to out.
// After help it returns flag.ErrHelp, which is no failure; errors about the arguments wrap ErrUsage.
func Room(ctx context.Context, args []string, out io.Writer, s Settings) error {
	if len(args) > 0 {
		for _, c := range roomCommands {
			if c.name == args[0] {
				c.name = "room " + c.name
				return c.execute(ctx, args[1:], out, s)
			}
		}
	}
	if len(args) > 0 && !isHelp(args[0]) {
		return usagef("there is no `portico room %s`; `portico room -h` shows what there is", args[0])
	}
	fmt.Fprint(out, "Usage: portico room COMMAND\n\nCommands:\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range roomCommands {
		fmt.Fprintf(table, "  %s\t%s\n", strings.TrimSpace(c.name+" "+c.arguments), c.summary)
	}
	table.Flush()
	fmt.Fprint(out, "\n`portico room COMMAND -h` shows the flags of a command.\n")
	if len(args) == 0 {
		return usagef("what is to be done with rooms?")
	}
	return flag.ErrHelp
}

// Token runs `portico token ROOM -user NAME -role ROLE`; otherwise like Room.
func Token(ctx context.Context, args []string, out io.Writer, s Settings) error {
	return tokenCommand.execute(ctx, args, out, s)
}

func isHelp(arg string) bool {
	return arg == "-h" || arg == "-help" || arg == "--help" || arg == "help"
}

func (c command) execute(ctx context.Context, args []string, out io.Writer, s Settings) error {
	var o options
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.URL, "url", s.URL, "`address` of an edge")
	flags.StringVar(&s.Service, "service", s.Service, "`id` of the service that owns the rooms")
	flags.StringVar(&o.keyFile, "key-file", "", "`file` that holds the service's key")
	if c.flags != nil {
		c.flags(flags, &o)
	}
	positional, err := parseMixed(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		c.help(flags, out)
		return flag.ErrHelp
	}
	switch {
	case err != nil:
		return usagef("%v; `portico %s -h` shows the flags", err, c.name)
	case len(positional) < c.count:
		return usagef("%s is missing; `portico %s -h` shows how it is used", c.arguments, c.name)
	case c.count >= 0 && len(positional) > c.count:
		return usagef("%q is too much; `portico %s -h` shows how it is used", positional[c.count], c.name)
	}
	if o.keyFile != "" {
		text, err := os.ReadFile(o.keyFile)
		if err != nil {
			return fmt.Errorf("cannot read the service key: %w", err)
		}
		s.Key = strings.TrimSpace(string(text))
	}
	client, err := New(s)
	if err != nil {
		return err
	}
	return c.run(ctx, client, positional, &o, out)
}

// parseMixed parses flags that stand before, between and behind the positional arguments, which it returns.
func parseMixed(flags *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

func (c command) help(flags *flag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, "Usage: %s\n\n%s.\n\nFlags:\n", strings.Join(strings.Fields("portico "+c.name+" "+c.arguments+" [flags]"), " "),
		strings.ToUpper(c.summary[:1])+c.summary[1:])
	flags.SetOutput(out)
	flags.PrintDefaults()
	fmt.Fprint(out, common)
}

func jsonFlag(f *flag.FlagSet, o *options) {
	f.BoolVar(&o.json, "json", false, "print JSON")
}

func createFlags(f *flag.FlagSet, o *options) {
	jsonFlag(f, o)
	f.IntVar(&o.participants, "participants", -1, "most `participants` at a time; -1: no limit")
	f.IntVar(&o.inputs, "inputs", -1, "most `streams` published at a time; -1: no limit")
	f.BoolVar(&o.noMix, "no-mix", false, "a room without a mixed stream")
	f.StringVar(&o.options, "options", "", "further options as a JSON `object`, or @ and the name of a file that holds it")
}

func tokenFlags(f *flag.FlagSet, o *options) {
	f.StringVar(&o.user, "user", "", "`name` of the user (required)")
	f.StringVar(&o.role, "role", "presenter", "`role` in the room: presenter, viewer, … or one of the room's own")
	f.StringVar(&o.place.ISP, "isp", "", "the client's internet `provider`, for the choice of servers")
	f.StringVar(&o.place.Region, "region", "", "the client's `region`, for the choice of servers")
}

func createRoom(ctx context.Context, c *Client, args []string, o *options, out io.Writer) error {
	given, err := readOptions(o.options)
	if err != nil {
		return err
	}
	if o.participants >= 0 {
		given = given.With("participantLimit", jsonvalue.OfInt(int64(o.participants)))
	}
	if o.inputs >= 0 {
		given = given.With("inputLimit", jsonvalue.OfInt(int64(o.inputs)))
	}
	if o.noMix {
		given = given.With("views", jsonvalue.OfArray())
	}
	room, err := c.CreateRoom(ctx, args[0], given)
	if err != nil {
		return fmt.Errorf("cannot create the room: %w", err)
	}
	if o.json {
		return printJSON(out, room)
	}
	_, err = fmt.Fprintln(out, room.Get("_id").Text())
	return err
}

func readOptions(text string) (jsonvalue.Value, error) {
	if text == "" {
		return jsonvalue.OfObject(), nil
	}
	data := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return jsonvalue.Value{}, fmt.Errorf("cannot read the room's options: %w", err)
		}
	}
	v, err := jsonvalue.Parse(data, jsonvalue.Limits{})
	if err != nil {
		return jsonvalue.Value{}, usagef("-options: %v", err)
	}
	if v.Kind() != jsonvalue.Object {
		return jsonvalue.Value{}, usagef("-options: this is %s, not an object like {\"inputLimit\":4}", v.Kind())
	}
	return v, nil
}

func listRooms(ctx context.Context, c *Client, _ []string, o *options, out io.Writer) error {
	rooms, err := c.Rooms(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the rooms: %w", err)
	}
	if o.json {
		return printJSON(out, jsonvalue.OfArray(rooms...))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tPARTICIPANTS\tINPUTS\tVIEWS\tNAME")
	for _, r := range rooms {
		var labels []string
		for i := range r.Get("views").Len() {
			labels = append(labels, printable(r.Get("views").Index(i).Get("label").Text()))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Get("_id").Text(), limitText(r.Get("participantLimit"), 0), limitText(r.Get("inputLimit"), -1),
			strings.Join(labels, ","), printable(r.Get("name").Text()))
	}
	return table.Flush()
}

// limitText shows a limit; unlimited and everything below it mean that there is none.
func limitText(v jsonvalue.Value, unlimited int64) string {
	n, ok := v.Int()
	if !ok || n <= unlimited {
		return "any"
	}
	return strconv.FormatInt(n, 10)
}

// printable keeps control characters, which a name may hold, away from the terminal.
func printable(s string) string {
	quoted := strconv.Quote(s)
	if plain := quoted[1 : len(quoted)-1]; plain != s {
		return quoted
	}
	return s
}

func showRoom(ctx context.Context, c *Client, args []string, _ *options, out io.Writer) error {
	id, err := c.Find(ctx, args[0])
	if err != nil {
		return err
	}
	room, err := c.Room(ctx, id)
	if err != nil {
		return fmt.Errorf("cannot show room %s: %w", id, err)
	}
	return printJSON(out, room)
}

func deleteRoom(ctx context.Context, c *Client, args []string, _ *options, out io.Writer) error {
	id, err := c.Find(ctx, args[0])
	if err != nil {
		return err
	}
	if err := c.DeleteRoom(ctx, id); err != nil {
		return fmt.Errorf("cannot delete room %s: %w", id, err)
	}
	_, err = fmt.Fprintf(out, "room %s deleted\n", id)
	return err
}

func createToken(ctx context.Context, c *Client, args []string, o *options, out io.Writer) error {
	if o.user == "" {
		return usagef("-user is missing: every token is for a user")
	}
	id, err := c.Find(ctx, args[0])
	if err != nil {
		return err
	}
	text, err := c.CreateToken(ctx, id, o.user, o.role, o.place)
	if err != nil {
		return fmt.Errorf("cannot create a token for room %s: %w", id, err)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

func printJSON(out io.Writer, v jsonvalue.Value) error {
	var text bytes.Buffer
	if err := json.Indent(&text, v.Append(nil), "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, text.String())
	return err
}
