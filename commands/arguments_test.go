package commands

// The tests in this file run the parser in this process, one after the other: it
// writes to a variable of its package.

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
)

// TestFlagsFirst: the parser takes all that follows an argument for arguments, so
// flags are moved in front of them, with their values, and to the command that has
// them.
func TestFlagsFirst(t *testing.T) {
	root := newRoot(app.New(&bytes.Buffer{}, &bytes.Buffer{}, app.Options{}), nil)
	for line, want := range map[string]string{
		"coffee":                                           "coffee",
		"coffee status 123":                                "coffee status 123",
		"coffee status 123 --watch":                        "coffee status --watch 123",
		"coffee status 123 -o json":                        "coffee status --output json 123",
		"coffee status 123 --output=json --limit 5":        "coffee status --output=json --limit 5 123",
		"coffee status --log-level debug 123":              "coffee --log-level debug status 123",
		"coffee status 123 --log-level=debug":              "coffee --log-level=debug status 123",
		"coffee --log-level debug status 123":              "coffee --log-level debug status 123",
		"coffee status -- 123 --watch":                     "coffee status -- 123 --watch",
		"coffee status 1 --watch -- -2":                    "coffee status --watch -- 1 -2",
		"coffee cancel 123 --reason --watch":               "coffee cancel --reason --watch 123",
		"coffee cancel 123 --reason":                       "coffee cancel --reason",
		"coffee server --log-level":                        "coffee --log-level",
		"coffee backup -- --generate-bash-completion":      "coffee backup --generate-bash-completion",
		"coffee timeline 123 --frmat svg":                  "coffee timeline --frmat 123 svg",
		"coffee completion bash":                           "coffee completion bash",
		"coffee frob --drink latte":                        "coffee --drink frob latte",
		"coffee keys new file --help":                      "coffee help keys new file",
		"coffee -h --log-level debug":                      "coffee", // the first help
		"coffee status - 123":                              "coffee status - 123",
		"coffee backup x --generate-bash-completion":       "coffee backup x --generate-bash-completion",
		"coffee status 1 --lim --generate-bash-completion": "coffee status --lim 1 --generate-bash-completion",
	} {
		sorted, err := commandline.FlagsFirst(root, strings.Fields(line))
		if got := strings.Join(sorted, " "); got != want || err != nil {
			t.Errorf("%s\ngot  %s, %v\nwant %s", line, got, err, want)
		}
	}
}

// TestUsageErrors: a mistake is named, and so is the name that was probably meant.
func TestUsageErrors(t *testing.T) {
	for line, want := range map[string]string{
		"ordr":                                    "no such command: \"ordr\"; did you mean order?",
		"frob":                                    "no such command: \"frob\"; the commands are server, worker, order, status, cancel",
		"order --drnk latte":                      "no such flag: --drnk; did you mean --drink?",
		"order -drnk latte":                       "no such flag: --drnk; did you mean --drink?",
		"status 1 --wach":                         "no such flag: --wach; did you mean --watch?",
		"menu --log-levl debug":                   "no such flag: --log-levl; did you mean --log-level?",
		"order --quantity 2":                      "no such flag: --quantity\n",
		"order --drink":                           "--drink needs a value",
		"cancel 123 --reason":                     "--reason needs a value",
		"server --log-level":                      "--log-level needs a value",
		"status --limit many":                     `--limit is "many": use a whole number`,
		"status --limit 010":                      `--limit is "010": use decimal digits, without a leading zero` + "\nsee coffee status --help",
		"server --in-memory -p=0x1c41":            `--port is "0x1c41": use decimal digits`,
		"server --in-memory --ui-port 65536":      "--ui-port is 65536: ports are 0 to 65535",
		"server --in-memory --ui-ip here":         `--ui-ip is "here": use an IP address`,
		"codec --port -1":                         "--port is -1: ports are 0 to 65535",
		"server start-dev now":                    `server takes no argument: "start-dev"`,
		"rush --orders 1_000":                     `--orders is "1_000": use decimal digits`,
		"rush --rate 0x1p4":                       `--rate is "0x1p4": use decimal digits`,
		"order --drink latte --cancel-after 0x10": `--cancel-after is "0x10": use`,
		"rush --rate fast":                        `--rate is "fast": use a number`,
		"worker --brew-time 1":                    `--brew-time is "1": use a duration, such as 1.5s or 200ms`,
		"order --dev=maybe --drink latte":         `--dev is "maybe": use true or false, or leave the value out`,
		"order --drink latte --brew-time 1s":      "--brew-time is a setting of the worker",
		"order --drink latte --dev --tls":         "--tls makes no sense with it",
		"rush --rate NaN":                         "--rate is NaN: use a number",
		"rush --rate -Inf":                        "--rate is -Inf: use a number",
		"rush --orders 3 --rate 1e-10":            "to place 3 orders would take more than a year",
		"rush --rate 1e-300":                      "would take more than a year",
		"worker --drain-time -1s":                 "--drain-time is -1s: use 0 or more",
		"worker --dev --metrics-address :1":       "--metrics-address makes no sense with --dev",
		"server --headless --encryption-keyset k": "with --headless it needs --worker",
		"server --in-memory --dynamic-config-value limit.maxID=20": `the Temporal server has no setting "limit.maxID"`,
		"status --address localhost:7233/":                         `--address is "localhost:7233/": use HOST:PORT`,
		"status --address localhost:0":                             `--address is "localhost:0": use HOST:PORT`,
		"status --address localhost:99999":                         `--address is "localhost:99999": use HOST:PORT`,
		"status --address me@localhost:7233":                       `--address is "me@localhost:7233": use HOST:PORT`,
		"status --address a:7233,,b:7233":                          "use HOST:PORT, or several with commas in between",
		"menu latte":                                               `menu takes no argument: "latte"`,
		"completion tcsh":                                          "which shell? bash, zsh, fish or powershell",
		"order --drink latte --\x1b[2J":                            `no such flag: "--\x1b[2J"`,
		"order Latte":                                              "order takes no argument: \"Latte\"; did you mean --drink latte?",
		"order frob":                                               "order takes no argument: \"frob\"\n",
		"cancel":                                                   "which order? coffee cancel ID",
		"help keys rotat":                                          `no such command: "keys rotat"`,
		"help ordr":                                                "no such command: \"ordr\"; did you mean order?",
	} {
		var stdout, stderr bytes.Buffer
		code := Run(t.Context(), append([]string{"coffee"}, strings.Fields(line)...), &stdout, &stderr, app.Options{})
		if code != 2 || !strings.Contains(stderr.String(), want) || stdout.Len() > 0 {
			t.Errorf("%s\nexit code %d, stdout %q, stderr %q\nwant %q", line, code, stdout.String(), stderr.String(), want)
		}
	}
}

// TestEmptyFlags: no flag takes an empty value, which is that of a shell's variable that is
// not set.
func TestEmptyFlags(t *testing.T) {
	root := newRoot(app.New(&bytes.Buffer{}, &bytes.Buffer{}, app.Options{}), nil)
	var try func(path []string, commands []*cli.Command, flags []cli.Flag)
	try = func(path []string, commands []*cli.Command, flags []cli.Flag) {
		for _, flag := range flags {
			switch flag.(type) {
			case *cli.StringFlag, *cli.StringSliceFlag:
			default:
				continue
			}
			name := "--" + flag.Names()[0]
			var stderr bytes.Buffer
			code := Run(t.Context(), slices.Concat(path, []string{name, ""}), &bytes.Buffer{}, &stderr, app.Options{})
			if want := "coffee: " + name + " is empty: "; code != 2 || !strings.HasPrefix(stderr.String(), want) {
				t.Errorf("%v %s \"\": exit code %d, stderr %q", path, name, code, stderr.String())
			}
		}
		for _, command := range commands {
			try(append(slices.Clip(path), command.Name), command.Subcommands, command.Flags)
		}
	}
	try([]string{"coffee"}, root.Commands, nil)
	try([]string{"coffee", "menu"}, nil, root.Flags)
}

// TestFlagsWithCommas: a value with a comma in it is one value.
func TestFlagsWithCommas(t *testing.T) {
	var stderr bytes.Buffer
	Run(t.Context(), []string{"coffee", "server", "--search-attribute", "a=Keyword,b=Int"}, &bytes.Buffer{}, &stderr, app.Options{})
	if want := `type "Keyword,b=Int"`; !strings.Contains(stderr.String(), want) {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

// TestHelp: a newcomer sees the five commands of the program first, no flag of the
// tests, and which flags are for --dev.
func TestHelp(t *testing.T) {
	help := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		if code := Run(t.Context(), append([]string{"coffee"}, args...), &stdout, &stderr, app.Options{}); code != 0 || stderr.Len() > 0 {
			t.Fatalf("%v: exit code %d, stderr %q", args, code, stderr.String())
		}
		return stdout.String()
	}
	var names []string
	for line := range strings.Lines(help("--help")) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "     ") && line[5] != ' ' && len(fields) > 1 {
			names = append(names, fields[0])
		}
	}
	if first := []string{"server", "worker", "order", "status", "cancel", "tour", "timeline", "board", "menu", "audit", "ready"}; !slices.Equal(names, first) {
		t.Errorf("the first commands are %v", names)
	}
	all := help("help")
	for _, group := range groups(app.New(&bytes.Buffer{}, &bytes.Buffer{}, app.Options{}), "") {
		for _, command := range group.Commands {
			if !strings.Contains(all, "\n     "+command.Name+" ") || !strings.Contains(all, "\n   "+group.Title+"\n") {
				t.Errorf("coffee help lacks %s, or its group", command.Name)
			}
		}
	}
	if help() != help("--help") {
		t.Error("without a command the program should say the same as with --help")
	}
	order := help("order", "--help")
	worker := strings.Index(order, "WORKER (with --dev): see coffee worker --help")
	if worker < 0 || strings.Index(order, "--brew-time") < worker || strings.Index(order, "--drink") > worker {
		t.Errorf("the worker's flags are not shown as such:\n%s", order)
	}
	if rotate := help("keys", "rotate", "--help"); !strings.Contains(rotate, "--prepare") || rotate != help("help", "keys", "rotate") {
		t.Errorf("coffee keys rotate --help:\n%s", rotate)
	}
	if help("server", "start-dev", "-h") != help("help", "server", "start-dev") {
		t.Error("the help of coffee server start-dev is not that of coffee server")
	}
	if order != help("order", "-h") || order != help("help", "order") || help("--help") != help("-h") {
		t.Error("-h, --help and the command help differ")
	}
}

// TestNothingIsHidden: help shows all commands but itself, and all flags.
func TestNothingIsHidden(t *testing.T) {
	var look func(path string, commands []*cli.Command, flags []cli.Flag)
	look = func(path string, commands []*cli.Command, flags []cli.Flag) {
		for _, flag := range flags {
			if visible, ok := flag.(cli.VisibleFlag); ok && !visible.IsVisible() {
				t.Errorf("%s hides --%s", path, flag.Names()[0])
			}
		}
		for _, command := range commands {
			if command.Hidden && command.Name != "help" {
				t.Errorf("%s hides %s", path, command.Name)
			}
			look(path+" "+command.Name, command.Subcommands, command.Flags)
		}
	}
	root := newRoot(app.New(&bytes.Buffer{}, &bytes.Buffer{}, app.Options{}), nil)
	look("coffee", root.Commands, root.Flags)
}

// TestHelpFits: every command's help fits on a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	root := newRoot(app.New(&bytes.Buffer{}, &bytes.Buffer{}, app.Options{}), nil)
	var check func(name, help string, commands []*cli.Command)
	check = func(name, help string, commands []*cli.Command) {
		for line := range strings.Lines(help) {
			if columns := len([]rune(strings.TrimRight(line, "\n"))); columns > 80 {
				t.Errorf("%s --help: %d columns: %s", name, columns, line)
			}
		}
		if help == "" || strings.Contains(help, "{{") {
			t.Errorf("%s --help is no plain text: %q", name, help)
		}
		for _, command := range commands {
			check(name+" "+command.Name, command.CustomHelpTemplate, command.Subcommands)
		}
	}
	check("coffee", root.CustomAppHelpTemplate, root.Commands)
	if rows := strings.Count(root.Command("order").CustomHelpTemplate, "\n"); rows > 40 {
		t.Errorf("coffee order --help has %d lines: its first flags scroll away", rows)
	}
}

// TestCompletion: what a shell offers, as the program tells it.
func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"":                              "server worker order status cancel tour timeline skip board menu replay audit rush ready backup rollout keys codec completion",
		"completion":                    "bash zsh fish powershell",
		"order --dr":                    "--drink --drain-time",
		"server --db-filename":          "", // the shell offers files
		"order -s":                      "S M L",
		"status --status":               "running completed failed cancelled",
		"order --drink":                 "americano cappuccino chai-latte cortado espresso filter flat-white latte macchiato mocha",
		"rollout --address 127.0.0.1:1": "", // nor for its versions
		"order --drink latte --log":     "--log-level --log-format",
		"backup --":                     "--db-filename --ledger --every --keep --verify --encryption-keyset --output --help --log-level --log-format --version",
		"backup -- x":                   "", // nothing is run
		"worker --late":                 "", // hidden
		"status --address 127.0.0.1:1":  "", // the server cannot be asked
	} {
		var stdout, stderr bytes.Buffer
		args := slices.Concat([]string{"coffee"}, strings.Fields(line), []string{commandline.CompletionFlag})
		code := Run(t.Context(), args, &stdout, &stderr, app.Options{})
		if got := strings.Join(strings.Fields(stdout.String()), " "); code != 0 || got != want || stderr.Len() > 0 {
			t.Errorf("%q: exit code %d, stderr %q\ngot  %s\nwant %s", line, code, stderr.String(), got, want)
		}
	}
}

// TestCompletionScripts: each shell that is there accepts its script.
func TestCompletionScripts(t *testing.T) {
	for _, s := range commandline.Scripts {
		shell, err := exec.LookPath(s.Shell)
		if err != nil {
			t.Logf("there is no %s here", s.Shell)
			continue
		}
		cmd := exec.Command(shell, "-n") // parse, do not run
		cmd.Stdin = strings.NewReader(s.Script)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", s.Shell, err, out)
		}
	}
}
