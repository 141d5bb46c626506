package coffee

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.com/coffee/internal/text"
	"example.com/coffee/internal/typo"
)

// InvalidOrderError says what is wrong with an order.
type InvalidOrderError struct {
	// Field is the JSON name of the field at fault; empty when the order as a whole
	// is.
	Field string
	// Problem is one line. User data in it is escaped.
	Problem string
}

func (e *InvalidOrderError) Error() string { return e.Problem }

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

// Size is the size of a cup.
type Size string

// The sizes.
const (
	SizeS Size = "S"
	SizeM Size = "M"
	SizeL Size = "L"
)

// ParseSize reads a size in upper or lower case. The error is an
// [*InvalidOrderError].
func ParseSize(s string) (Size, error) {
	switch size := Size(strings.ToUpper(strings.TrimSpace(s))); size {
	case SizeS, SizeM, SizeL:
		return size, nil
	}
	return "", &InvalidOrderError{Field: "size", Problem: fmt.Sprintf("no such size: %s; sizes are S, M and L", text.Quote(s))}
}

// MaxOrderIDLength is the length of the longest order id, in characters.
const MaxOrderIDLength = 64

var orderIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ValidateOrderID returns an [*InvalidOrderError] unless the id is 1 to 64
// ASCII letters, digits, dots, underscores and dashes, the first of them a
// letter or a digit. Such an id is safe in a terminal, a URL and a query.
func ValidateOrderID(id string) error {
	if orderIDPattern.MatchString(id) {
		return nil
	}
	return &InvalidOrderError{
		Field: "order_id",
		Problem: fmt.Sprintf("bad order id %s: use 1 to %d letters, digits, '.', '_' and '-', starting with a letter or a digit",
			text.Quote(id), MaxOrderIDLength),
	}
}

// NewOrderID returns a random order id that is short enough to type: six
// characters, none of which is easily mistaken for another. There are 887 million
// such ids. If two orders still get the same one, the second is refused as a
// conflict, or joins the first if it asks for the same drink and size.
func NewOrderID() string {
	const alphabet = "23456789abcdefghjkmnpqrstuvwxyz" // no 0, o, 1, l, i
	var b [6]byte
	rand.Read(b[:]) // never fails, see its documentation
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b[:])
}

// Normalize checks the order and returns it in canonical form: the drink as
// the menu spells it, the size in upper case. The error is an
// [*InvalidOrderError].
func (r OrderRequest) Normalize() (OrderRequest, error) {
	if err := ValidateOrderID(r.OrderID); err != nil {
		return OrderRequest{}, err
	}
	drink, err := ParseDrink(string(r.Drink))
	if err != nil {
		return OrderRequest{}, err
	}
	size, err := ParseSize(string(r.Size))
	if err != nil {
		return OrderRequest{}, err
	}
	return OrderRequest{OrderID: r.OrderID, Drink: drink, Size: size}, nil
}

// canonical returns the order in canonical form, as [OrderRequest.Normalize] does, but
// without checking it.
func (r OrderRequest) canonical() OrderRequest {
	r.Drink = Drink(strings.ToLower(strings.TrimSpace(string(r.Drink))))
	r.Size = Size(strings.ToUpper(strings.TrimSpace(string(r.Size))))
	return r
}

// String describes what is ordered, for example "latte (M)".
func (r OrderRequest) String() string { return fmt.Sprintf("%s (%s)", r.Drink, r.Size) }
