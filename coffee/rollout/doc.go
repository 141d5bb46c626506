// Package rollout brings another release of the workers into use: it says which versions a
// server knows, which of them new orders begin on, and which orders still need an old one.
package rollout

import (
	"example.com/coffee/coffee/desk"
)

// Client does what a [desk.Client] does, and changes which version is current.
type Client struct{ *desk.Client }

// New returns a client for the versions of the workers that make these orders.
func New(orders *desk.Client) *Client { return &Client{orders} }
