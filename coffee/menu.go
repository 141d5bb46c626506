package coffee

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// Drink is the name of a drink on the menu.
type Drink string

// Menu lists the drinks that can be ordered, in alphabetical order.
func Menu() []Drink {
	return []Drink{
		"americano", "cappuccino", "chai-latte", "cortado", "espresso",
		"filter", "flat-white", "latte", "macchiato", "mocha",
	}
}

// ParseDrink finds a drink on the menu, whatever case it is written in. The
// error is an [*InvalidOrderError] that names the nearest drink and the menu.
func ParseDrink(s string) (Drink, error) {
	menu := Menu()
	drink := Drink(strings.ToLower(strings.TrimSpace(s)))
	if slices.Contains(menu, drink) {
		return drink, nil
	}
	problem := fmt.Sprintf("no such drink: %s", Quote(s))
	if near, ok := nearest(string(drink), menu); ok {
		problem += fmt.Sprintf("; did you mean %s?", near)
	} else {
		problem += "."
	}
	names := make([]string, len(menu))
	for i, d := range menu {
		names[i] = string(d)
	}
	return "", &InvalidOrderError{Field: "drink", Problem: problem + " The menu: " + strings.Join(names, ", ")}
}

// nearest returns the drink that fewest typing errors lead to, if at most a
// third of its letters would be wrong.
func nearest(s string, menu []Drink) (Drink, bool) {
	var best Drink
	fewest := -1
	for _, drink := range menu {
		typos := smetrics.WagnerFischer(clip(s, 64), string(drink), 1, 1, 1)
		if typos*3 <= len(drink)+1 && (fewest < 0 || typos < fewest) {
			best, fewest = drink, typos
		}
	}
	return best, fewest >= 0
}
