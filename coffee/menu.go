package coffee

import (
	"fmt"
	"slices"
	"strings"

	"example.com/coffee/internal/text"
	"example.com/coffee/internal/typo"
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

// ParseDrink returns the drink on the menu with this name, in upper or lower case.
// The error is an [*InvalidOrderError] that suggests the nearest drink and lists
// the menu.
func ParseDrink(s string) (Drink, error) {
	menu := Menu()
	drink := Drink(strings.ToLower(strings.TrimSpace(s)))
	if slices.Contains(menu, drink) {
		return drink, nil
	}
	names := make([]string, len(menu))
	for i, d := range menu {
		names[i] = string(d)
	}
	problem := fmt.Sprintf("no such drink: %s", text.Quote(s))
	if near, ok := typo.Nearest(string(drink), names); ok {
		problem += fmt.Sprintf("; did you mean %s?", near)
	} else {
		problem += "."
	}
	return "", &InvalidOrderError{Field: "drink", Problem: problem + " The menu: " + strings.Join(names, ", ")}
}
