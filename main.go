// Command coffee takes coffee orders as durable Temporal workflows.
package main

import (
	"os"

	"example.com/coffee/commands"
)

func main() {
	os.Exit(commands.Run(commands.Signals(), os.Args, os.Stdout, os.Stderr, commands.Options{}))
}
